import { describe, expect, it } from 'vitest'
import { BackOff } from '../../../src/core/back-off.ts'

describe('backing off', () => {
  it('waits twice as long each time at the most, by chance between half of that and all', () => {
    for (let seed = 0; seed < 200; seed++) {
      const backOff = new BackOff({ fromMs: 100, toMs: 1_000, seed })
      for (const mostMs of [100, 200, 400, 800, 1_000, 1_000, 1_000]) {
        const waitMs = backOff.nextMs()
        expect(waitMs).toBeGreaterThanOrEqual(mostMs / 2)
        expect(waitMs).toBeLessThanOrEqual(mostMs)
        expect(Number.isInteger(waitMs)).toBe(true)
      }
      backOff.reset()
      expect(backOff.nextMs()).toBeLessThanOrEqual(100)
    }
  })

  it('is the same for the same seed, and spreads those of others', () => {
    const wait = (seed: number): number => new BackOff({ fromMs: 10_000, seed }).nextMs()
    expect(wait(7)).toBe(wait(7))
    expect(new Set(Array.from({ length: 100 }, (_, seed) => wait(seed))).size).toBeGreaterThan(95)
  })

  it('never ends in a timer that fires at once', () => {
    const backOff = new BackOff({ fromMs: 1, toMs: 3_600_000, seed: 1 })
    for (let attempt = 0; attempt < 2_000; attempt++) expect(backOff.nextMs()).toBeGreaterThanOrEqual(1)
    expect(backOff.nextMs()).toBeLessThanOrEqual(3_600_000)
  })

  it.each([{ fromMs: 0 }, { fromMs: 5, toMs: 4 }, { toMs: Infinity }, { fromMs: Number.NaN }])(
    'refuses %o',
    options => {
      expect(() => new BackOff(options)).toThrow('is not a range')
    },
  )
})
