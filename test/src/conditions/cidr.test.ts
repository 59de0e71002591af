import { SocketAddress } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalIp, compileAddresses } from '../../../src/conditions/cidr.ts'
import { PolicyError, type Problem } from '../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'

const SEEDED = { seed: 43, numRuns: 300 }
const listed = (list: readonly string[], ip: string): boolean => compileAddresses(list, 'ips')(ip)

function problemsOf(list: unknown): readonly Problem[] {
  try {
    compileAddresses(list as readonly string[], 'exempt[2].ips')
  } catch (error) {
    if (error instanceof PolicyError) return error.problems
    throw error
  }
  throw new Error('nothing was refused')
}

const GARBAGE = [
  '',
  ' ',
  'localhost',
  '10.0.0',
  '10.0.0.256',
  '010.0.0.1',
  '10.0.0.1 ',
  ' 10.0.0.1',
  '10.0.0.1\n',
  '10.0.0.1%eth0',
  '10.0.0.1:1883',
  '10.0.0.0/8',
  '[::1]',
  ':::',
  '::g',
  '1::2::3',
  'fe80::1%',
  '0x0a000001',
  '167772161',
  '::ffff:10.0.0',
  '１０.0.0.1',
  '\0',
  '__proto__',
  '1'.repeat(1_000_000),
  `::1%${'a'.repeat(1_000_000)}`,
]

describe('a list of addresses', () => {
  it('contains IPv4 addresses and the ends of their blocks', () => {
    const list = ['10.0.0.0/8', '192.168.1.7']
    expect(['10.0.0.0', '10.255.255.255', '192.168.1.7'].map(ip => listed(list, ip))).toEqual([
      true,
      true,
      true,
    ])
    expect(['9.255.255.255', '11.0.0.0', '192.168.1.8', '192.168.1.6'].map(ip => listed(list, ip))).toEqual([
      false,
      false,
      false,
      false,
    ])
  })

  it('contains IPv6 addresses and blocks in every spelling', () => {
    const list = ['2001:DB8::/33', 'fd00:0:0::7']
    for (const ip of ['2001:db8::', '2001:0DB8:7fff:ffff::1', 'fd00::7', 'FD00:0000:0:0:0:0:0:7']) {
      expect([ip, listed(list, ip)]).toEqual([ip, true])
    }
    for (const ip of ['2001:db8:8000::', '2001:db7:ffff::', 'fd00::8', '::7']) {
      expect([ip, listed(list, ip)]).toEqual([ip, false])
    }
  })

  it('treats IPv4 in IPv6 as IPv4, on both sides', () => {
    for (const ip of [
      '::ffff:10.0.0.1',
      '::FFFF:10.0.0.1',
      '::ffff:a00:1',
      '0:0:0:0:0:ffff:0a00:0001',
      '10.0.0.1',
    ]) {
      for (const entry of [
        '10.0.0.0/8',
        '10.0.0.1',
        '::ffff:10.0.0.1',
        '::ffff:10.0.0.0/104',
        '::ffff:a00:1/128',
        '::ffff:0:0/96',
      ]) {
        expect([entry, ip, listed([entry], ip)]).toEqual([entry, ip, true])
      }
      expect(listed(['11.0.0.0/8', '::ffff:11.0.0.0/104'], ip)).toBe(false)
    }
  })

  it('keeps the two families apart, even for all addresses of one', () => {
    expect(['1.2.3.4', '::ffff:1.2.3.4', '2001:db8::1'].map(ip => listed(['::/0'], ip))).toEqual([
      false,
      false,
      true,
    ])
    expect(['1.2.3.4', '::ffff:1.2.3.4', '2001:db8::1'].map(ip => listed(['0.0.0.0/0'], ip))).toEqual([
      true,
      true,
      false,
    ])
    expect(listed(['10.0.0.1'], '::10.0.0.1')).toBe(false)
  })

  it('ignores zone ids on both sides', () => {
    expect(listed(['fe80::/10'], 'fe80::1%eth0')).toBe(true)
    expect(listed(['fe80::1%eth1'], 'fe80::1%eth0')).toBe(true)
    expect(listed(['fe80::1'], 'FE80::1%2')).toBe(true)
    expect(listed(['10.0.0.0/8'], '::ffff:10.0.0.1%eth0')).toBe(true)
    expect(listed(['fe80::1'], 'fe80::2%eth0')).toBe(false)
  })

  it('accepts blocks whose address has bits after the prefix', () => {
    expect(listed(['10.1.2.3/8'], '10.200.0.1')).toBe(true)
    expect(listed(['2001:db8::ff/32'], '2001:db8:1::')).toBe(true)
  })

  it('matches no invalid text and never throws', () => {
    const all = compileAddresses(['0.0.0.0/0', '::/0'], 'ips')
    for (const ip of GARBAGE) expect([ip.slice(0, 20), all(ip)]).toEqual([ip.slice(0, 20), false])
    for (const ip of [undefined, null, 5, {}, ['10.0.0.1'], { toString: () => '10.0.0.1' }, Symbol('ip')]) {
      expect(all(ip as string)).toBe(false)
    }
    expect(listed([], '10.0.0.1')).toBe(false)
  })

  it('agrees with arithmetic on IPv4 blocks of every length', () => {
    const bits32 = fc.integer({ min: 0, max: 0xffff_ffff })
    const write = (bits: number): string => [24, 16, 8, 0].map(shift => (bits >>> shift) & 255).join('.')
    fc.assert(
      fc.property(
        bits32,
        fc.integer({ min: 0, max: 32 }),
        fc.integer({ min: 0, max: 31 }),
        (net, length, flip) => {
          // One flipped bit is inside the block exactly when it lies behind the prefix.
          const ip = (net ^ (1 << (31 - flip))) >>> 0
          const holds = compileAddresses([`${write(net)}/${length}`], 'ips')
          expect(holds(write(net))).toBe(true)
          expect(holds(write(ip))).toBe(flip >= length)
          expect(holds(`::ffff:${write(ip)}`)).toBe(flip >= length)
        },
      ),
      SEEDED,
    )
  })

  it('matches the same after more addresses than are cached', () => {
    const isListed = compileAddresses(['10.0.0.0/8', 'fd00::/8'], 'ips')
    for (let index = 0; index < 2 * MAX_SIZES.parsedAddresses; index++) {
      const inside = `10.1.${index >> 8}.${index & 255}`
      expect([
        isListed(inside),
        isListed(`::ffff:${inside}`),
        isListed(inside.replace('10.', '11.')),
      ]).toEqual([true, true, false])
    }
    expect([isListed('fd00::1'), isListed('10.1.0.0'), isListed('x')]).toEqual([true, true, false])
  })

  it('reports every invalid entry with its position and a remedy', () => {
    const problems = problemsOf([
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '::/129',
      'localhost',
      5,
      '10.0.0.1',
      '::ffff:10.0.0.0/8',
      '10.0.0.0/-1',
      '/8',
      '10.0.0.0/8.5',
    ])
    expect(problems.map(problem => problem.path)).toEqual(
      [0, 1, 2, 3, 4, 5, 7, 8, 9, 10].map(index => `exempt[2].ips[${index}]`),
    )
    for (const problem of problems) expect(problem.remedy).toBeTruthy()
    expect(problems.find(problem => problem.path === 'exempt[2].ips[7]')?.remedy).toContain('10.0.0.0/8')
    expect(problemsOf('10.0.0.0/8')[0]?.path).toBe('exempt[2].ips')
  })
})

describe('the canonical text of an address', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:0A00:0001', '10.0.0.1'],
    ['0:0:0:0:0:ffff:10.0.0.1', '10.0.0.1'],
    ['2001:0DB8:0000:0000:0000:0000:0000:0001', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['fe80::1%eth0', 'fe80::1'],
    ['FE80::A%25', 'fe80::a'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::ffff:0:1.2.3.4', '::ffff:0:102:304'],
  ])('of %s is %s', (ip, text) => {
    expect(canonicalIp(ip)).toBe(text)
  })

  it('is the same for all spellings of an IPv6 address, and for itself', () => {
    const groups = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), {
      minLength: 8,
      maxLength: 8,
    })
    fc.assert(
      fc.property(groups, parts => {
        const full = parts.map(part => part.toString(16).padStart(4, '0')).join(':')
        const short = parts.map(part => part.toString(16).toUpperCase()).join(':')
        const text = canonicalIp(full)
        expect(canonicalIp(short)).toBe(text)
        expect(canonicalIp(`${short}%eth0`)).toBe(text)
        expect(canonicalIp(text)).toBe(text)
        const back = new SocketAddress({ address: full, family: 'ipv6' }).address
        expect(text).toBe(back.replace(/^::ffff:(?=.*\.)/, ''))
      }),
      SEEDED,
    )
  })

  it('of text that is not an address is that text', () => {
    for (const ip of GARBAGE) expect(canonicalIp(ip)).toBe(ip)
    expect(canonicalIp(undefined as never)).toBeUndefined()
  })
})
