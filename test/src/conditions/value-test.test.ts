import { describe, expect, it } from 'vitest'
import { holdsOf, pathsOf, problemsOf } from './conditions.ts'

const field = 'v'

describe('equals and in', () => {
  it('compare values with their type', () => {
    expect(holdsOf({ v: 5 }, { field, equals: 5 })).toBe(true)
    expect(holdsOf({ v: '5' }, { field, equals: 5 })).toBe(false)
    expect(holdsOf({ v: 1 }, { field, equals: true })).toBe(false)
    expect(holdsOf({ v: null }, { field, equals: null })).toBe(true)
    expect(holdsOf({}, { field, equals: null })).toBe(false)
    expect(holdsOf({ v: '' }, { field, equals: '' })).toBe(true)
    expect(holdsOf({ v: 'A' }, { field, equals: 'a' })).toBe(false)
  })

  it('match one of a list, with their type', () => {
    const among = ['high', 2, null, false] as const
    for (const v of among) expect(holdsOf({ v }, { field, in: among })).toBe(true)
    for (const v of ['low', '2', 'null', true, 0, ['high'], { high: 1 }]) {
      expect(holdsOf({ v }, { field, in: among })).toBe(false)
    }
    expect(holdsOf({}, { field, in: among })).toBe(false)
  })

  it('match no object, not even one that looks like the value', () => {
    expect(holdsOf({ v: { toString: () => 'a', valueOf: () => 'a' } }, { field, equals: 'a' })).toBe(false)
    expect(holdsOf({ v: ['a'] }, { field, equals: 'a' })).toBe(false)
  })
})

describe('range', () => {
  it('includes both ends and leaves a side open for null', () => {
    const holdsIn = (v: unknown, range: readonly [number | null, number | null]): boolean =>
      holdsOf({ v }, { field, range })
    expect([9.999, 10, 20, 20.001].map(v => holdsIn(v, [10, 20]))).toEqual([false, true, true, false])
    expect([-1e308, 20, 21].map(v => holdsIn(v, [null, 20]))).toEqual([true, true, false])
    expect([9, 10, 1e308].map(v => holdsIn(v, [10, null]))).toEqual([false, true, true])
    expect(holdsIn(0, [0, 0])).toBe(true)
  })

  it('matches numbers only', () => {
    for (const v of ['15', Number.NaN, null, true, [15], { valueOf: () => 15 }, 15n]) {
      expect(holdsOf({ v }, { field, range: [10, 20] })).toBe(false)
    }
    expect(holdsOf({}, { field, range: [null, 20] })).toBe(false)
  })
})

describe('exists', () => {
  it('matches a field that is present, even if it is null', () => {
    for (const v of [null, 0, '', false, []]) {
      expect(holdsOf({ v }, { field, exists: true })).toBe(true)
      expect(holdsOf({ v }, { field, exists: false })).toBe(false)
    }
    expect(holdsOf({}, { field, exists: true })).toBe(false)
    expect(holdsOf({}, { field, exists: false })).toBe(true)
  })
})

describe('a value test', () => {
  it('needs exactly one property', () => {
    expect(problemsOf({ payload: { field } })).toEqual([
      {
        path: 'when.payload',
        message: 'there is nothing to compare with',
        remedy: 'give exactly one of equals, in, range, exists; join several conditions with all or any',
      },
    ])
    expect(problemsOf({ payload: { field, equals: 1, range: [1, 2] } })[0]?.message).toBe(
      'equals and range cannot be combined',
    )
  })

  it.each([
    [{ equals: {} }, 'equals'],
    [{ equals: ['a'] }, 'equals'],
    [{ equals: Number.NaN }, 'equals'],
    [{ equals: Infinity }, 'equals'],
    [{ in: 'a' }, 'in'],
    [{ in: [] }, 'in'],
    [{ in: ['a', {}] }, 'in[1]'],
    [{ in: ['a', undefined] }, 'in[1]'],
    [{ range: 5 }, 'range'],
    [{ range: [5] }, 'range'],
    [{ range: [1, 2, 3] }, 'range'],
    [{ range: [2, 1] }, 'range'],
    [{ range: [null, null] }, 'range'],
    [{ range: ['1', 2] }, 'range'],
    [{ range: [undefined, 2] }, 'range'],
    [{ range: [1, Infinity] }, 'range'],
    [{ exists: 'yes' }, 'exists'],
    [{ exists: null }, 'exists'],
  ])('refuses %j with a remedy', (test, word) => {
    const [problem, ...others] = problemsOf({ payload: { field, ...test } })
    expect(problem?.path).toBe(`when.payload.${word}`)
    expect(problem?.remedy).toBeTruthy()
    expect(others).toEqual([])
  })

  it('reports each invalid value of a list', () => {
    expect(pathsOf({ payload: { field, in: [[], 1, {}] } })).toEqual([
      'when.payload.in[0]',
      'when.payload.in[2]',
    ])
  })
})
