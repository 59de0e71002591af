import { describe, expect, it } from 'vitest'
import type { ConditionSpec } from '../../../src/conditions/condition.ts'
import { readHeaderValues } from '../../../src/conditions/header.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Message, MessageHeaders } from '../../../src/core/message.ts'
import { holds, messageWith, pathsOf, problemsOf } from './conditions.ts'

type HeaderTest = Omit<NonNullable<ConditionSpec['header']>, 'name'>

const holdsFor = (value: unknown, test: HeaderTest): boolean =>
  holds({ header: { name: 'x', ...test } }, { headers: { x: value } as MessageHeaders })
const named = (name: string, headers: unknown, protocol?: Message['protocol']): boolean =>
  holds(
    { header: { name, equals: 'v' } },
    { headers: headers as MessageHeaders, ...(protocol ? { protocol } : {}) },
  )

describe('a header', () => {
  it('compares as text with texts, numbers and booleans', () => {
    expect(holdsFor('high', { equals: 'high' })).toBe(true)
    expect(holdsFor('High', { equals: 'high' })).toBe(false)
    expect(holdsFor('high ', { equals: 'high' })).toBe(false)
    expect(holdsFor('5', { equals: 5 })).toBe(true)
    expect(holdsFor('5.0', { equals: 5 })).toBe(false)
    expect(holdsFor('true', { equals: true })).toBe(true)
    expect(holdsFor('', { equals: '' })).toBe(true)
  })

  it('matches any of a list', () => {
    expect(['a', 'b', '3', 'c'].map(value => holdsFor(value, { in: ['a', 'b', 3] }))).toEqual([
      true,
      true,
      true,
      false,
    ])
  })

  it('needs one matching value only, in any position', () => {
    for (const values of [
      ['a', 'b', 'c'],
      ['c', 'a', 'b'],
      ['b', 'c', 'a'],
    ]) {
      expect(holdsFor(values, { equals: 'a' })).toBe(true)
      expect(holdsFor(values, { secret: 'a' })).toBe(true)
      expect(holdsFor(values, { in: ['z', 'a'] })).toBe(true)
      expect(holdsFor(values, { equals: 'abc' })).toBe(false)
    }
    expect(holdsFor(['x', '12'], { range: [10, 20] })).toBe(true)
    expect(holdsFor([], { equals: '' })).toBe(false)
  })

  it('is compared in a range as a decimal number', () => {
    const inside = ['10', '20', '+15', '1.5e1', '15.', '015', '19.99']
    const outside = [
      '9.99',
      '20.01',
      '',
      ' 15',
      '15 ',
      '0xF',
      '15px',
      'NaN',
      'Infinity',
      '1e999',
      '1_5',
      `15.${'0'.repeat(100)}`,
    ]
    for (const value of inside) expect([value, holdsFor(value, { range: [10, 20] })]).toEqual([value, true])
    for (const value of outside) expect([value, holdsFor(value, { range: [10, 20] })]).toEqual([value, false])
    expect(holdsFor('-3', { range: [null, 0] })).toBe(true)
    expect(holdsFor('.5', { range: [0, null] })).toBe(true)
  })

  it('exists with any value, even an empty one, and not with an empty list', () => {
    expect(holdsFor('', { exists: true })).toBe(true)
    expect(holdsFor(['a'], { exists: true })).toBe(true)
    expect(holdsFor([], { exists: true })).toBe(false)
    expect(holdsFor(undefined, { exists: false })).toBe(true)
    expect(holds({ header: { name: 'x', exists: false } })).toBe(true)
    expect(holdsFor('a', { exists: false })).toBe(false)
  })

  it('matches only the complete secret', () => {
    const secret = 'correct horse battery staple'
    expect(holdsFor(secret, { secret })).toBe(true)
    for (const value of [
      '',
      'correct',
      `${secret} `,
      secret.toUpperCase(),
      secret.slice(1),
      [secret.slice(0, 4), secret.slice(4)],
    ]) {
      expect(holdsFor(value, { secret })).toBe(false)
    }
  })

  it('compares equals and in alike, whatever its name suggests', () => {
    for (const name of ['x-priority', 'authorization']) {
      const compare = (value: unknown, test: HeaderTest): boolean =>
        holds({ header: { name, ...test } }, { headers: { [name]: value } as MessageHeaders })
      expect(compare('a', { equals: 'a' })).toBe(true)
      expect(compare('5', { equals: 5 })).toBe(true)
      expect(compare('', { equals: '' })).toBe(true)
      expect(compare('aa', { equals: 'a' })).toBe(false)
      expect(compare('b', { in: ['a', 'b'] })).toBe(true)
      expect(compare(['x', 'b'], { in: ['a', 'b'] })).toBe(true)
      expect(compare('c', { in: ['a', 'b'] })).toBe(false)
    }
  })

  it('distinguishes texts that are equal in UTF-8', () => {
    expect(holdsFor('a\ud800', { secret: 'a\ufffd' })).toBe(false)
    expect(holdsFor('a\ud800', { secret: 'a\ud801' })).toBe(false)
    expect(holdsFor('a\ufffd', { secret: 'a\ufffd' })).toBe(true)
  })
})

describe('the name of a header', () => {
  it('is case-sensitive, except on NATS', () => {
    for (const protocol of ['mqtt', undefined] as const) {
      expect(named('X-Priority', { 'x-priority': 'v' }, protocol)).toBe(false)
      expect(named('X-Priority', { 'X-Priority': 'v' }, protocol)).toBe(true)
    }
    expect(named('X-Priority', { 'x-PRIORITY': 'v' }, 'nats')).toBe(true)
    expect(named('x-priority', { 'X-Priority': ['u', 'v'] }, 'nats')).toBe(true)
    expect(named('x-priority', { 'X-Priorita': 'v' }, 'nats')).toBe(false)
  })

  it('prefers the exact case on NATS too, then the first match', () => {
    expect(named('X-A', { 'x-a': 'v', 'X-A': 'other' }, 'nats')).toBe(false)
    expect(named('X-A', { 'x-a': 'other', 'X-A': 'v' }, 'nats')).toBe(true)
    expect(named('X-A', { 'x-a': 'v', 'X-a': 'other' }, 'nats')).toBe(true)
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'never reaches a prototype by %j',
    name => {
      for (const protocol of ['mqtt', 'nats'] as const) {
        expect(holds({ header: { name, exists: true } }, { headers: {}, protocol })).toBe(false)
        const own = JSON.parse(`{${JSON.stringify(name)}: "v"}`)
        expect(named(name, own, protocol)).toBe(true)
        expect(named('v', Object.create({ v: 'v', V: 'v' }), protocol)).toBe(false)
      }
    },
  )

  it('is compared without case among a bounded number of headers', () => {
    const headers = (before: number): Record<string, string> => ({
      ...Object.fromEntries(Array.from({ length: before }, (_, index) => [`h${index}`, 'x'])),
      'X-A': 'v',
    })
    expect(named('x-a', headers(MAX_SIZES.headerNames - 1), 'nats')).toBe(true)
    expect(named('x-a', headers(MAX_SIZES.headerNames), 'nats')).toBe(false)
    expect(named('X-A', headers(MAX_SIZES.headerNames), 'nats')).toBe(true)
  })
})

describe('untrusted headers', () => {
  const fail = (): never => {
    throw new Error('hostile')
  }

  it('count as absent if reading them throws', () => {
    const thrower = new Proxy({}, { get: fail, ownKeys: fail, getOwnPropertyDescriptor: fail, has: fail })
    const getter = Object.defineProperty({}, 'x', { get: fail, enumerable: true })
    const list = new Proxy(['v'], { get: fail })
    for (const headers of [thrower, getter, { x: list }]) {
      for (const protocol of ['mqtt', 'nats'] as const) {
        const message = { headers: headers as MessageHeaders, protocol }
        expect(holds({ header: { name: 'x', exists: true } }, message)).toBe(false)
        expect(holds({ header: { name: 'x', equals: 'v' } }, message)).toBe(false)
      }
    }
    const message = Object.defineProperty(messageWith(), 'headers', { get: fail })
    expect(readHeaderValues(message, 'x')).toEqual([])
  })

  it('never match with values that are not text', () => {
    for (const value of [
      5,
      null,
      true,
      {},
      { toString: () => 'v' },
      [5, null, ['v']],
      Symbol('v'),
      () => 'v',
      Buffer.from('v'),
    ]) {
      expect(holdsFor(value, { in: ['v', 5, true] })).toBe(false)
      expect(holdsFor(value, { secret: 'v' })).toBe(false)
      expect(holdsFor(value, { range: [null, 10] })).toBe(false)
    }
    for (const headers of [null, 5, 'x', undefined]) expect(named('x', headers, 'nats')).toBe(false)
  })

  it('are compared up to a maximum number of values', () => {
    const values = (before: number): readonly string[] => [...Array<string>(before).fill('no'), 'v']
    expect(holdsFor(values(MAX_SIZES.headerValues - 1), { equals: 'v' })).toBe(true)
    expect(holdsFor(values(MAX_SIZES.headerValues), { equals: 'v' })).toBe(false)
    expect(readHeaderValues(messageWith({ headers: { x: values(1_000_000) } }), 'x')).toHaveLength(
      MAX_SIZES.headerValues,
    )
  })

  it('never match with a text longer than the maximum', () => {
    const longest = 'a'.repeat(MAX_SIZES.headerValueChars)
    expect(holdsFor(longest, { equals: longest })).toBe(true)
    expect(holdsFor(`${longest}a`, { equals: longest })).toBe(false)
    expect(pathsOf({ header: { name: 'x', equals: `${longest}a` } })).toEqual(['when.header.equals'])
    expect(pathsOf({ header: { name: 'x', in: ['a', `${longest}a`] } })).toEqual(['when.header.in[1]'])
  })
})

describe('the properties of a header condition', () => {
  it('are a name and exactly one test', () => {
    expect(pathsOf({ header: {} })).toEqual(['when.header.name', 'when.header'])
    expect(pathsOf({ header: { name: '', equals: 1 } })).toEqual(['when.header.name'])
    expect(pathsOf({ header: { name: 'x', equals: null } })).toEqual(['when.header.equals'])
    expect(pathsOf({ header: { name: 'x', in: ['a', null] } })).toEqual(['when.header.in[1]'])
    expect(pathsOf({ header: { name: 'x', secret: 's', equals: 's' } })).toEqual(['when.header'])
    expect(pathsOf({ header: { name: 'x', key: 's', exists: true } })).toEqual(['when.header.key'])
    expect(pathsOf({ header: 'x' })).toEqual(['when.header'])
  })

  it('refuse a secret that is not text without repeating it', () => {
    for (const secret of [123_456_789, '', null, ['hunter2hunter2']]) {
      const [problem, ...others] = problemsOf({ header: { name: 'x', secret } })
      expect(problem?.path).toBe('when.header.secret')
      expect(JSON.stringify(problem)).not.toMatch(/123|hunter/)
      expect(others).toEqual([])
    }
  })
})
