import { describe, expect, it } from 'vitest'
import { BOUNDS } from '../../../src/bounds.ts'
import { compileCost } from '../../../src/chain/cost.ts'
import { createSender, type Message } from '../../../src/index.ts'

const sender = createSender({ client: 'c' })

function on(topic: string, more: Partial<Message> = {}): Message {
  return { topic, on: 'publish', sender, size: 10, ...more }
}

describe('a cost by topics', () => {
  const meter = compileCost({ topics: { 'a/+/big': 5, 'a/#': 2, 'b/#': 0.5 }, default: 3 })

  it('is that of the first pattern in the table that matches, else the default', () => {
    const asked = ['a/x/big', 'a/x/small', 'b', 'c', 'a/x/big', 'c'].map(topic => meter.unitsOf(on(topic)))
    expect(asked).toEqual([5, 2, 0.5, 3, 5, 3])
    expect(meter.fractional).toBe(true)
  })

  it('stays what it is when more topics come than are remembered', () => {
    let wrong = 0
    for (let index = 0; index < 2 * BOUNDS.routes + 10; index++) {
      if (meter.unitsOf(on(`${index % 2 === 0 ? 'a' : 'z'}/${index}`)) !== (index % 2 === 0 ? 2 : 3)) wrong++
    }
    expect(wrong).toBe(0)
    expect(meter.unitsOf(on('a/x/big'))).toBe(5)
    expect(meter.unitsOf(on('b/1'))).toBe(0.5)
  })
})

describe('a cost that a stranger writes', () => {
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
    [0, 0],
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
