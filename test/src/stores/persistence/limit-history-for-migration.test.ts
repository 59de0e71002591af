import { describe, expect, it } from 'vitest'
import { createLimit, type Limit } from '../../../../src/algorithms/index.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import {
  appendToLimitHistory,
  findLimitChanges,
  LimitHistories,
} from '../../../../src/stores/persistence/limit-history-for-migration.ts'

const limitOf = (name: string, count: number): Limit =>
  createLimit({ name, algorithm: 'token-bucket', count, periodMs: 1_000 })

describe('the history of a rule', () => {
  const history = [
    { text: 'a', sinceMs: 0 },
    { text: 'b', sinceMs: 10 },
    { text: 'a', sinceMs: 20 },
  ]

  it.each([
    ['a', 5, ['b', 'a']],
    ['b', 15, ['a']],
    ['a', 25, []],
    // Dated before its numbers were active here: another clock.
    ['b', 5, ['a']],
    // Written by another process, whose numbers were active until the next change here.
    ['x', 15, ['b', 'a']],
    ['x', -5, ['a', 'b', 'a']],
  ])('cells of %s charged at %i have to be migrated through %j', (text, lastMs, expected) => {
    expect(findLimitChanges(history, text, lastMs).map(each => each.text)).toEqual(expected)
  })

  it('is the same object if nothing has changed, and drops the oldest numbers', () => {
    expect(appendToLimitHistory(history, { text: 'a', sinceMs: 30 })).toBe(history)
    let long = history as ReturnType<typeof appendToLimitHistory>
    for (let count = 0; count < 20; count++)
      long = appendToLimitHistory(long, { text: `${count}`, sinceMs: 100 + count })
    expect(long).toHaveLength(MAX_SIZES.limitChangesPerRule)
    expect(long.at(-1)).toEqual({ text: '19', sinceMs: 119 })
  })

  it('is kept by rule, for a bounded number of rules', () => {
    const histories = new LimitHistories(({ count }) => `${count}`)
    expect(histories.adopt(limitOf('r', 1), 5)).toMatchObject([{ text: '1', sinceMs: 5 }])
    expect(histories.adopt(limitOf('r', 2), 9)).toMatchObject([{ text: '1' }, { text: '2', sinceMs: 9 }])
    expect(histories.of(limitOf('r', 1), 12)).toMatchObject([{ text: '1', sinceMs: 5 }])
    const one = limitOf('', 1)
    for (let rule = 0; rule < MAX_SIZES.ruleHistories; rule++)
      histories.adopt({ ...one, name: `${rule}` }, 20)
    expect(histories.of(limitOf('r', 2), 30)).toMatchObject([{ text: '2', sinceMs: 30 }])
  })
})
