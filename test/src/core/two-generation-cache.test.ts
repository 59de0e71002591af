import { describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { TwoGenerationCache } from '../../../src/core/two-generation-cache.ts'

const ROUTE_BOUNDS = {
  maxEntries: MAX_SIZES.routes,
  maxKeyChars: MAX_SIZES.routeChars,
  maxTotalChars: MAX_SIZES.routeCharsTotal,
}

describe('a cache in two generations', () => {
  it('returns the value of a key until it is cleared', () => {
    const cache = new TwoGenerationCache<number>(ROUTE_BOUNDS)
    cache.set('a/b', 0)
    expect(cache.get('a/b')).toBe(0)
    expect(cache.get('a/c')).toBeUndefined()
    cache.clear()
    expect(cache.get('a/b')).toBeUndefined()
  })

  it('does not cache keys longer than its bound', () => {
    const cache = new TwoGenerationCache<number>(ROUTE_BOUNDS)
    const longest = 'x'.repeat(MAX_SIZES.routeChars)
    cache.set(longest, 1)
    cache.set(`${longest}x`, 2)
    expect(cache.get(longest)).toBe(1)
    expect(cache.get(`${longest}x`)).toBeUndefined()
  })

  it('keeps a key in use while more keys arrive than it can hold', () => {
    const cache = new TwoGenerationCache<number>(ROUTE_BOUNDS)
    cache.set('used', 1)
    cache.set('unused', 1)
    for (let index = 0; index < 2 * MAX_SIZES.routes; index++) {
      cache.set(`invented/${index}`, index)
      expect(cache.get('used')).toBe(1)
    }
    expect(cache.get('unused')).toBeUndefined()
    expect(cache.size).toBeLessThanOrEqual(MAX_SIZES.routes + 1)
  })

  it('is bounded in characters, too', () => {
    const cache = new TwoGenerationCache<number>(ROUTE_BOUNDS)
    cache.set('first', 1)
    const filler = 'x'.repeat(MAX_SIZES.routeChars - 8)
    const keys = Math.ceil(MAX_SIZES.routeCharsTotal / MAX_SIZES.routeChars) + 16
    expect(keys).toBeLessThan(MAX_SIZES.routes / 2)
    for (let index = 0; index < keys; index++) cache.set(`${filler}${String(index).padStart(8, '0')}`, index)
    expect(cache.get('first')).toBeUndefined()
  })
})
