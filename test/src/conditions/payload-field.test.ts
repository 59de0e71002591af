import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseFieldPath, readPayloadField } from '../../../src/conditions/payload-field.ts'
import { holds, holdsOf, messageWith, pathsOf, problemsOf } from './conditions.ts'

const hasField = (payload: unknown, field: string): boolean => holdsOf(payload, { field, exists: true })

describe('a field path', () => {
  it.each([
    ['priority', ['priority']],
    ['alarm.level', ['alarm', 'level']],
    ['a.b[0].c', ['a', 'b', 0, 'c']],
    ['[0][12].x', [0, 12, 'x']],
    ['["a.b"].c', ['a.b', 'c']],
    ['a["x]y\\""][1]', ['a', 'x]y"', 1]],
    ['with space-and_dash', ['with space-and_dash']],
    ['0', ['0']],
  ])('reads %j', (text, steps) => {
    expect(parseFieldPath(text)).toEqual(steps)
  })

  it.each([
    '',
    '.',
    '.a',
    'a.',
    'a..b',
    'a[',
    'a[]',
    'a[-1]',
    'a[x]',
    'a[0]b',
    'a.[0]',
    'a]',
    "a['b']",
    'a["\\x"]',
    'a[9999999999]',
    'a'.repeat(1001),
  ])('refuses %j', field => {
    const [problem, ...others] = problemsOf({ payload: { field, exists: true } })
    expect(problem?.path).toBe('when.payload.field')
    expect(problem?.remedy).toContain('readings[0].value')
    expect(others).toEqual([])
  })

  it('finds fields at any depth of objects and lists', () => {
    const steps = fc.array(fc.oneof(fc.string({ minLength: 1, maxLength: 8 }), fc.nat(3)), {
      minLength: 1,
      maxLength: 8,
    })
    fc.assert(
      fc.property(steps, fc.integer(), (path, leaf) => {
        let payload: unknown = leaf
        for (const step of path.toReversed()) {
          if (typeof step === 'number') payload = [...Array<null>(step).fill(null), payload]
          else payload = JSON.parse(`{${JSON.stringify(step)}:${JSON.stringify(payload)}}`)
        }
        const text = path.map(step => `[${JSON.stringify(step)}]`).join('')
        expect(parseFieldPath(text)).toEqual(path)
        expect(holdsOf(payload, { field: text, equals: leaf })).toBe(true)
        expect(holdsOf(payload, { field: text, equals: leaf + 1 })).toBe(false)
      }),
      { seed: 42, numRuns: 200 },
    )
  })
})

describe('a payload field', () => {
  it('is compared if it is present', () => {
    const payload = { alarm: { level: 3 }, readings: [{ value: 7 }], 'a.b': true }
    expect(holdsOf(payload, { field: 'alarm.level', equals: 3 })).toBe(true)
    expect(holdsOf(payload, { field: 'readings[0].value', range: [7, 7] })).toBe(true)
    expect(holdsOf(payload, { field: 'readings[1].value', exists: true })).toBe(false)
    expect(holdsOf(payload, { field: '["a.b"]', equals: true })).toBe(true)
    expect(holdsOf(payload, { field: 'a.b', exists: true })).toBe(false)
  })

  it('is absent if the payload is not an object or missing', () => {
    expect(holds({ payload: { field: 'a', exists: true } })).toBe(false)
    expect(holds({ payload: { field: 'a', exists: false } })).toBe(true)
    for (const payload of [undefined, null, 0, 'text', true, Symbol('s'), 10n, () => 1, Number.NaN]) {
      expect(hasField(payload, 'length')).toBe(false)
      expect(hasField(payload, '[0]')).toBe(false)
      expect(holdsOf(payload, { field: 'a', exists: false })).toBe(true)
    }
  })

  it('accepts names for objects only and indexes for lists only', () => {
    expect(hasField({ list: [1, 2] }, 'list.length')).toBe(false)
    expect(hasField({ list: [1, 2] }, 'list.0')).toBe(false)
    expect(hasField({ list: { 0: 1 } }, 'list[0]')).toBe(false)
    expect(hasField({ list: { 0: 1 } }, 'list.0')).toBe(true)
    expect(hasField({ text: 'abc' }, 'text.length')).toBe(false)
  })

  it.each([
    '__proto__',
    'constructor',
    'constructor.name',
    'toString',
    '__proto__.polluted',
    'a.constructor',
    'hasOwnProperty',
    'list.map',
    '__defineGetter__',
  ])('never reaches a prototype by %j', field => {
    expect(hasField({ a: {}, list: [] }, field)).toBe(false)
    expect(hasField(new (class Reading {})(), field)).toBe(false)
    expect(hasField(() => undefined, field)).toBe(false)
  })

  it('reads no inherited fields, and own ones without a prototype', () => {
    expect(hasField(Object.create({ priority: 'emergency' }), 'priority')).toBe(false)
    expect(hasField(Object.assign(Object.create(null), { priority: 'emergency' }), 'priority')).toBe(true)
  })

  it('reads __proto__ of a parsed payload as an ordinary field', () => {
    const payload: unknown = JSON.parse('{"__proto__": {"priority": "emergency"}}')
    expect(holdsOf(payload, { field: 'priority', equals: 'emergency' })).toBe(false)
    expect(holdsOf(payload, { field: '__proto__.priority', equals: 'emergency' })).toBe(true)
    expect(({} as { priority?: string }).priority).toBeUndefined()
  })

  it('counts as absent if reading it throws', () => {
    const fail = (): never => {
      throw new Error('hostile')
    }
    const { proxy, revoke } = Proxy.revocable({ a: 1 }, {})
    revoke()
    const hostile = [
      Object.defineProperty({}, 'a', { get: fail, enumerable: true }),
      new Proxy(
        {},
        { get: fail, has: fail, getOwnPropertyDescriptor: fail, ownKeys: fail, getPrototypeOf: fail },
      ),
      new Proxy({}, { getOwnPropertyDescriptor: () => ({ value: 1, configurable: false }) }),
      proxy,
    ]
    for (const payload of hostile) {
      expect(hasField(payload, 'a')).toBe(false)
      expect(holdsOf(payload, { field: 'a', exists: false })).toBe(true)
    }
    expect(holds({ payload: { field: 'a', equals: 1 } }, { payload: fail })).toBe(false)
    expect(holds({ payload: { field: 'a', equals: 1 } }, { payload: 'no function' as never })).toBe(false)
  })

  it('is read by the message itself if it can, and is absent if that throws', () => {
    const paths: unknown[] = []
    const payloadField = (path: unknown): unknown => {
      paths.push(path)
      return 5
    }
    const payload = (): unknown => expect.fail('the whole payload was parsed')
    expect(holds({ payload: { field: 'a[0]', equals: 5 } }, { payload, payloadField })).toBe(true)
    expect(paths).toEqual([['a', 0]])
    const fail = (): never => {
      throw new Error('hostile')
    }
    expect(holds({ payload: { field: 'a', exists: false } }, { payload, payloadField: fail })).toBe(true)
  })

  it('reads cyclic and very deep payloads no further than its path', () => {
    const cyclic: Record<string, unknown> = { value: 1 }
    cyclic.self = cyclic
    expect(holdsOf(cyclic, { field: 'self.self.self.value', equals: 1 })).toBe(true)
    expect(holdsOf(cyclic, { field: 'self', equals: 'x' })).toBe(false)
    let deep: unknown = 1
    for (let level = 0; level < 200_000; level++) deep = { a: deep }
    expect(holdsOf(deep, { field: 'a.a.a', exists: true })).toBe(true)
    expect(holdsOf(deep, { field: 'a.a.a', equals: 1 })).toBe(false)
    const steps = Array<string>(500).fill('a').join('.')
    expect(hasField(deep, steps)).toBe(true)
  })

  it('returns its value for other uses, undefined if it is absent', () => {
    const message = messageWith({ payload: () => ({ a: [{ b: null }] }) })
    expect(readPayloadField(message, ['a', 0, 'b'])).toBeNull()
    expect(readPayloadField(message, ['a', 1])).toBeUndefined()
  })

  it('reports a missing test and an unknown property at once', () => {
    expect(pathsOf({ payload: { feild: 'priority' } })).toEqual(['when.payload.feild', 'when.payload'])
    expect(pathsOf({ payload: 'priority' })).toEqual(['when.payload'])
    expect(pathsOf({ payload: { field: 7, equals: 1 } })).toEqual(['when.payload.field'])
  })
})
