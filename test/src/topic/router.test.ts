import { describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { Router } from '../../../src/topic/router.ts'

function routerOf(): Router<readonly number[]> {
  return new Router('mqtt', ids => ids)
}

describe('the cache of routes', () => {
  it('returns the same route for a cached topic', () => {
    const router = routerOf()
    expect(router.route('a/b')).toBe(router.route('a/b'))
    expect(router.routeOfFilter('a/#')).toBe(router.routeOfFilter('a/#'))
  })
  it('does not cache topics longer than its bound', () => {
    const router = routerOf()
    const longest = 'x'.repeat(MAX_SIZES.routeChars)
    expect(router.route(longest)).toBe(router.route(longest))
    expect(router.route(`${longest}x`)).not.toBe(router.route(`${longest}x`))
    expect(router.routeOfFilter(`${longest}x`)).not.toBe(router.routeOfFilter(`${longest}x`))
  })
  it('is bounded in characters, too', () => {
    const router = routerOf()
    const first = router.route('first')
    const filler = 'x'.repeat(MAX_SIZES.routeChars - 8)
    const topics = Math.ceil(MAX_SIZES.routeCharsTotal / MAX_SIZES.routeChars) + 16
    expect(topics).toBeLessThan(MAX_SIZES.routes / 2)
    for (let index = 0; index < topics; index++) router.route(`${filler}${String(index).padStart(8, '0')}`)
    expect(router.route('first')).not.toBe(first)
  })
})
