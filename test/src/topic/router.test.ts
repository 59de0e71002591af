import { describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { parsePattern } from '../../../src/topic/pattern.ts'
import { Router } from '../../../src/topic/router.ts'

describe('the router', () => {
  it('compiles one plan for all topics that match the same patterns', () => {
    let compiled = 0
    const router = new Router('mqtt', ids => {
      compiled++
      return ids
    })
    router.add(undefined, 0)
    router.add(parsePattern('a/+', 'mqtt'), 1)
    expect(router.planOf('a/b')).toEqual([0, 1])
    expect(router.planOf('a/c')).toBe(router.planOf('a/b'))
    expect(router.planOfFilter('a/+')).toBe(router.planOf('a/b'))
    expect(router.planOf('b')).toEqual([0])
    expect(compiled).toBe(2)
  })

  it('routes topics longer than its cache allows', () => {
    const router = new Router('mqtt', ids => ids)
    router.add(parsePattern('a/#', 'mqtt'), 0)
    const long = `a/${'x'.repeat(MAX_SIZES.routeChars)}`
    expect(router.planOf(long)).toEqual([0])
    expect(router.planOfFilter(long)).toEqual([0])
  })

  it('uses patterns added after a topic was routed', () => {
    const router = new Router('mqtt', ids => ids)
    expect(router.planOf('a')).toEqual([])
    router.add(parsePattern('a', 'mqtt'), 0)
    expect(router.planOf('a')).toEqual([0])
    expect(router.planOfFilter('a')).toEqual([0])
  })
})
