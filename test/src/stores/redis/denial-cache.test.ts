import { describe, expect, it } from 'vitest'
import { createLimit } from '../../../../src/algorithms/index.ts'
import { DenialCache } from '../../../../src/stores/redis/denial-cache.ts'
import type { KeyedCharge } from '../../../../src/stores/redis/script-args.ts'

const limit = createLimit({ name: 'r', algorithm: 'token-bucket', count: 10, periodMs: 1_000 })
const charge = (stateKey: string, grains = 1, soft = false): KeyedCharge => ({
  stateKey,
  limit,
  grains,
  soft,
})
const denied = { allowed: false, remaining: 2, retryAfterMs: 300, resetMs: 800 }

describe('a cached refusal', () => {
  it('applies until its end to the same cost and more, never to less', () => {
    const denialCache = new DenialCache(10)
    denialCache.recordRefusals([charge('a', 3)], [denied], 1_000)
    expect(denialCache.answer([charge('a', 3)], 1_100)).toEqual([
      { allowed: false, remaining: 2, retryAfterMs: 200, resetMs: 700 },
    ])
    expect(denialCache.answer([charge('a', 5)], 1_299)?.[0]?.retryAfterMs).toBe(1)
    expect(denialCache.answer([charge('a', 2)], 1_100)).toBeUndefined()
    expect(denialCache.answer([charge('b', 3)], 1_100)).toBeUndefined()
    expect(denialCache.refused).toBe(2)
    expect(denialCache.answer([charge('a', 3)], 1_300)).toBeUndefined()
    expect(denialCache.size).toBe(0)
  })

  it('refuses a message of several charges if one hard charge is known to be refused', () => {
    const denialCache = new DenialCache(10)
    denialCache.recordRefusals([charge('a')], [denied], 1_000)
    const verdicts = denialCache.answer([charge('b'), charge('a')], 1_000)
    expect(verdicts?.map(({ allowed }) => allowed)).toEqual([true, false])
    expect(denialCache.answer([charge('b'), charge('a', 1, true)], 1_000)).toBeUndefined()
  })

  it('is never stored for soft charges, nor for costs that can never pass', () => {
    const denialCache = new DenialCache(10)
    denialCache.recordRefusals([charge('a', 1, true)], [denied], 1_000)
    denialCache.recordRefusals([charge('b', 99)], [{ ...denied, retryAfterMs: Infinity }], 1_000)
    expect(denialCache.size).toBe(0)
    denialCache.recordRefusals([charge('b')], [denied], 1_000)
    expect(denialCache.answer([charge('b', 99)], 1_000)?.[0]?.retryAfterMs).toBe(Infinity)
  })

  it('ends with a changed limit, and when the clock is set back', () => {
    const denialCache = new DenialCache(10)
    denialCache.recordRefusals([charge('a'), charge('b')], [denied, denied], 1_000)
    const changed = createLimit({ name: 'r', algorithm: 'token-bucket', count: 20, periodMs: 1_000 })
    expect(denialCache.answer([{ ...charge('a'), limit: changed }], 1_000)).toBeUndefined()
    expect(denialCache.answer([charge('b')], 999)).toBeUndefined()
    expect(denialCache.size).toBe(0)
  })

  it('is dropped when the cache is full: the oldest first', () => {
    const denialCache = new DenialCache(3)
    for (const key of ['a', 'b', 'c', 'a', 'd']) denialCache.recordRefusals([charge(key)], [denied], 1_000)
    expect(denialCache.size).toBe(3)
    expect(denialCache.answer([charge('b')], 1_000)).toBeUndefined()
    expect(denialCache.answer([charge('a')], 1_000)).toHaveLength(1)
  })
})
