import { describe, expect, it } from 'vitest'
import { KnownSenders } from '../../../src/adapter/sender-cache.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'

describe('KnownSenders', () => {
  it('does not grow past its bound, and keeps those that come back', () => {
    const known = new KnownSenders()
    const faithful = known.find({ client: 'faithful' })
    for (let n = 0; n < MAX_SIZES.internedSenders * 2; n++) {
      known.find({ client: `stranger-${n}` })
      if (n % 10_000 === 0) expect(known.find({ client: 'faithful' })).toBe(faithful)
    }
    expect(known.size).toBeLessThanOrEqual(MAX_SIZES.internedSenders)
    expect(known.size).toBeGreaterThan(MAX_SIZES.internedSenders / 2)
    expect(known.find({ client: 'faithful' })).toBe(faithful)
  })

  it('tells apart what only looks alike', () => {
    const known = new KnownSenders()
    expect(known.find({ client: 'a' })).not.toBe(known.find({ user: 'a' }))
    expect(known.find({ roles: ['a', 'b'] })).not.toBe(known.find({ roles: ['a,b'] }))
  })

  it('remembers no endless identity', () => {
    const known = new KnownSenders()
    const client = 'x'.repeat(100_000)
    expect(known.find({ client }).client).toBe(client)
    expect(known.size).toBe(0)
  })
})
