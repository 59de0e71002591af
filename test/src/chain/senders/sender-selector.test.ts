import { describe, expect, it } from 'vitest'
import {
  parseSenderSelector,
  SenderIndex,
  type SenderSelector,
} from '../../../../src/chain/senders/sender-selector.ts'
import { PolicyError } from '../../../../src/core/errors.ts'
import type { Sender } from '../../../../src/core/message.ts'

function indexOf(...subjects: SenderSelector[]): SenderIndex<string> {
  const index = new SenderIndex<string>()
  for (const subject of subjects) index.add(parseSenderSelector(subject), Object.values(subject)[0]!)
  return index
}

describe('a subject index', () => {
  it('finds values by each part of a sender', () => {
    const index = indexOf({ client: 'c1' }, { user: 'ann' }, { device: 'd1' }, { apiKey: 'k1' })
    expect(index.entriesOf({ client: 'c1', user: 'ann', device: 'd1', apiKey: 'k1' })).toEqual([
      'c1',
      'ann',
      'd1',
      'k1',
    ])
    expect(index.entriesOf({ client: 'ann', user: 'c1' })).toEqual([])
  })

  it.each([
    ['10.0.0.0/8', '10.9.8.7', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.9.8.7', '10.9.8.7', true],
    ['10.9.8.7', '10.9.8.6', false],
    ['10.9.8.7/9', '10.127.0.1', true],
    ['0.0.0.0/0', '203.0.113.5', true],
    ['0.0.0.0/0', 'fd00::1', false],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['::ffff:10.0.0.0/104', '10.1.1.1', true],
    ['fd00::/8', 'fdab::1', true],
    ['fd00::/8', 'fe00::1', false],
    ['::/0', 'fe80::1%eth0', true],
    ['2001:db8::1', '2001:DB8:0:0::1', true],
    ['10.0.0.0/8', 'no address', false],
  ])('of %s matches %s: %s', (block, ip, holds) => {
    expect(indexOf({ ip: block }).entriesOf({ ip })).toEqual(holds ? [block] : [])
  })

  it('forgets removed values, and unused network sizes', () => {
    const index = indexOf({ ip: '10.0.0.0/8' }, { ip: '10.0.0.0/16' })
    expect(index.entriesOf({ ip: '10.0.0.1' })).toEqual(['10.0.0.0/8', '10.0.0.0/16'])
    index.remove(parseSenderSelector({ ip: '10.0.0.0/8' }), '10.0.0.0/8')
    expect(index.entriesOf({ ip: '10.0.0.1' })).toEqual(['10.0.0.0/16'])
    index.remove(parseSenderSelector({ ip: '10.0.0.0/16' }), '10.0.0.0/16')
    expect(index.isEmpty).toBe(true)
  })

  it('stores no API key in clear, and still finds it', () => {
    const { text } = parseSenderSelector({ apiKey: 'secret' })
    expect(text).toMatch(/^sha256:[\w-]{43}$/)
    expect(parseSenderSelector({ apiKey: text }).text).toBe(text)
  })

  it('copes with untrusted names', () => {
    const index = indexOf({ client: '__proto__' }, { client: 'x'.repeat(100_000) })
    expect(index.entriesOf({ client: '__proto__' })).toEqual(['__proto__'])
    expect(index.entriesOf({ client: 'x'.repeat(100_000) })).toHaveLength(1)
    expect(index.entriesOf({ client: 'constructor' })).toEqual([])
    expect(index.entriesOf({ client: 7 } as unknown as Sender)).toEqual([])
  })

  it.each([[{}], [{ client: '' }], [{ client: 'a', user: 'b' }], [{ ip: '10.0.0.0/40' }], [{ ip: 'home' }]])(
    'requires exactly one part of a sender, so %j is refused',
    subject => {
      expect(() => parseSenderSelector(subject as SenderSelector)).toThrow(PolicyError)
    },
  )
})
