import { expect, it } from 'vitest'
import { FairBudget } from '../../../../src/cli/persistence/fair-budget.ts'

/** Adds one unit at a time for owners in turn, until none has room. Returns what each got. */
function fill(budget: FairBudget, owners: readonly string[]): readonly number[] {
  const got = owners.map(() => 0)
  for (let isFull = false; !isFull; ) {
    isFull = true
    for (const [index, owner] of owners.entries()) {
      if (!budget.hasRoom(owner, 1)) continue
      budget.add(owner, 1)
      got[index]!++
      isFull = false
    }
  }
  return got
}

it('one owner alone gets nine tenths, several get equal parts, and a new one always finds room', () => {
  expect(fill(new FairBudget(1_000), ['a'])).toEqual([900])
  const budget = new FairBudget(1_000)
  fill(budget, ['a'])
  const [second = 0] = fill(budget, ['b'])
  expect(second).toBe(90)
  expect(budget.hasRoom('c', 1)).toBe(true)
  const shares = fill(new FairBudget(1_000), ['a', 'b', 'c', 'd'])
  expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1)
  expect(shares.reduce((sum, share) => sum + share)).toBeGreaterThan(960)
})

it('an unknown owner may use all that is free, and removed amounts are free again', () => {
  const budget = new FairBudget(2)
  expect(budget.hasRoom(undefined, 2)).toBe(true)
  expect(budget.hasRoom(undefined, 3)).toBe(false)
  budget.add(undefined, 2)
  expect(budget.hasRoom('a', 1)).toBe(false)
  budget.remove(undefined, 1)
  expect(budget.hasRoom('a', 1)).toBe(true)
  expect(budget.used).toBe(1)
})
