import { describe, expect, it } from 'vitest'
import { compileCost } from '../../../../src/chain/rules/cost.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { createSender, type Message } from '../../../../src/index.ts'

const sender = createSender({ client: 'c' })

function on(topic: string, more: Partial<Message> = {}): Message {
  return { topic, on: 'publish', sender, size: 10, ...more }
}

describe('a cost by topics', () => {
  const meter = compileCost({ topics: { 'a/+/big': 5, 'a/#': 2, 'b/#': 0.5 }, default: 3 })

  it('is that of the first matching pattern, else the default', () => {
    const asked = ['a/x/big', 'a/x/small', 'b', 'c', 'a/x/big', 'c'].map(topic => meter.unitsOf(on(topic)))
    expect(asked).toEqual([5, 2, 0.5, 3, 5, 3])
    expect(meter.fractional).toBe(true)
  })

  it('stays the same beyond the number of cached topics', () => {
    let wrong = 0
    for (let index = 0; index < 2 * MAX_SIZES.routes + 10; index++) {
      if (meter.unitsOf(on(`${index % 2 === 0 ? 'a' : 'z'}/${index}`)) !== (index % 2 === 0 ? 2 : 3)) wrong++
    }
    expect(wrong).toBe(0)
    expect(meter.unitsOf(on('a/x/big'))).toBe(5)
    expect(meter.unitsOf(on('b/1'))).toBe(0.5)
  })
})

describe('an untrusted cost', () => {
  const meter = compileCost({ payload: 'cost' })

  it.each([
    [Number.NaN, 1],
    [-1, 1],
    [Number.NEGATIVE_INFINITY, 1],
    ['many', 1],
    ['', 1],
    [null, 1],
    [{}, 1],
    [undefined, 1],
    [0, 1],
    [0.25, 1],
    ['0', 1],
    ['2.5', 2.5],
    ['3', 3],
    [' 3 ', 3],
    ['1e2', 100],
    ['-3', 1],
    ['3 units', 1],
    [true, 1],
    [[3], 1],
    [Number.POSITIVE_INFINITY, 2 ** 40],
  ])('%s counts as %s', (cost, units) => {
    expect(meter.unitsOf(on('a', { payload: () => ({ cost }) }))).toBe(units)
  })
})

describe('a minimum cost', () => {
  it.each([
    [{ payload: 'cost', min: 0 }, 0, 0],
    [{ payload: 'cost', min: 0.25 }, 0.001, 0.25],
    [{ payload: 'cost', min: 0.25 }, 0.5, 0.5],
    [{ payload: 'cost', min: 3 }, 'nonsense', 3],
    [{ payload: 'cost', min: 3 }, -7, 3],
    [{ payload: 'cost', min: 3 }, 4, 4],
  ])('%j counts %s as %s', (cost, value, units) => {
    expect(compileCost(cost).unitsOf(on('a', { payload: () => ({ cost: value }) }))).toBe(units)
  })

  it('applies to headers', () => {
    const meter = compileCost({ header: 'x', min: 2 })
    expect([undefined, '0', '5'].map(x => meter.unitsOf(on('a', x ? { headers: { x } } : {})))).toEqual([
      2, 2, 5,
    ])
  })

  it('is one byte for a cost in bytes', () => {
    expect(compileCost('bytes').unitsOf(on('a', { size: 0 }))).toBe(1)
  })
})

describe('a cost by bytes', () => {
  it.each([
    [{ bytes: 'payload' }, 'a/b', 10, 10],
    [{ bytes: 'payload', overhead: 100 }, 'a/b', 10, 110],
    [{ bytes: 'message' }, 'a/b', 10, 13],
    // ü takes two bytes, the clef four.
    [{ bytes: 'message' }, 'ü/\u{1d11e}', 10, 17],
    [{ bytes: 'message', overhead: '1kB' }, 'a/b', 0, 1003],
    [{ bytes: 'per 4KiB' }, 'a/b', 0, 1],
    [{ bytes: 'per 4KiB' }, 'abc', 4093, 1],
    [{ bytes: 'per 4KiB' }, 'abc', 4094, 2],
    [{ bytes: 'per 4KiB', overhead: 100 }, 'abc', 3993, 1],
    [{ bytes: 'per 4KiB', overhead: 100 }, 'abc', 3994, 2],
    [{ bytes: 'per 4KiB', overhead: 100, min: 5 }, 'abc', 3994, 5],
    [{ bytes: 'per 4KiB', overhead: 100, min: 1 }, 'x'.repeat(60_000), 0, 15],
    [{ bytes: 'per 10', min: 0.5 }, 'abc', 0, 1],
  ] as const)('%j of a topic %.9s and %i bytes is %i', (cost, topic, size, units) => {
    expect(compileCost(cost).unitsOf(on(topic, { size }))).toBe(units)
  })

  it.each([
    [{ bytes: 'each' }, 'cost.bytes: "each" is not a count of bytes'],
    [{ bytes: 'per much' }, 'cost.bytes: "much" is not a number of bytes'],
    [{ bytes: 'per 4KiB', overhead: -1 }, 'cost.overhead: -1 is not a number of bytes'],
    [{ bytes: 'per 4KiB', min: Number.NaN }, 'cost.min: NaN is not a cost'],
    [{ each: 5 }, 'cost: an object is not a cost'],
  ])('%j is refused', (cost, message) => {
    expect(() => compileCost(cost as never)).toThrow(message)
  })
})
