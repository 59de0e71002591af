import { describe, expect, it } from 'vitest'
import { createLimit } from '../../../../src/algorithms/create-limit.ts'
import { ResilientStore } from '../../../../src/stores/resilient/resilient-store.ts'
import type { Charge, Fallback } from '../../../../src/stores/store.ts'
import { FALLBACKS } from '../../../../src/stores/store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { random } from '../../../support/random.ts'
import { FAILING, FaultyStore, type Way } from './faulty-store.ts'

const STEPS = 24
const wide = createLimit({ name: 'wide', algorithm: 'token-bucket', count: 10, periodMs: 1_000 })
const day = { unit: 'day', zone: 'UTC' } as const
const narrow = createLimit({
  name: 'narrow',
  algorithm: 'quota',
  count: 8,
  periodMs: 86_400_000,
  calendar: day,
})

interface Told {
  readonly allowed: readonly boolean[]
  readonly by: readonly (string | undefined)[]
}

/** Plays a seeded history in which call number `broken` fails and all others succeed. */
async function play(seed: number, broken: number, way: Way, usual: Way, fallback: Fallback): Promise<Told[]> {
  const dice = random(seed)
  const clock = new FakeClock()
  const inner = new FaultyStore(clock)
  inner.wayOf = call => (call === broken ? way : usual)
  const store = new ResilientStore({ store: inner, clock, fallback, timeoutMs: 250 })
  const told: Told[] = []
  for (let step = 0; step < STEPS; step++) {
    const charges: Charge[] = dice
      .shuffle([wide, narrow])
      .slice(0, dice.int(1, 2))
      .map(limit => ({ limit, key: dice.pick(['a', 'b']), cost: dice.int(1, 3) }))
    const commit = dice.chance(0.8)
    const sentMs = clock.now()
    const answer = store.decide(charges, { commit, nowMs: sentMs })
    if (answer instanceof Promise) await clock.advanceAsync(250)
    const verdicts = await answer
    expect(clock.now() - sentMs).toBeLessThanOrEqual(250)
    told.push({
      allowed: verdicts.map(({ allowed }) => allowed),
      by: verdicts.map(({ fallback }) => fallback),
    })
    expect(verdicts).toHaveLength(charges.length)
    if (commit && verdicts.every(({ allowed }) => allowed) && dice.chance(0.2)) {
      const given = store.refund(charges)
      if (given instanceof Promise) await clock.advanceAsync(250)
      await given
    }
    await clock.advanceAsync(dice.int(0, 100))
  }
  await clock.advanceAsync(2_000)
  const closed = store.close()
  await clock.advanceAsync(10_000)
  await closed
  expect(inner.calls.filter(call => call === 'close')).toHaveLength(1)
  expect(clock.pending, 'timers left').toBe(0)
  return told
}

describe('fail every store call in turn', () => {
  const usuals: readonly Way[] = ['now', 'soon']
  for (const usual of usuals) {
    it.each(FALLBACKS)(
      `the fallback %s answers for it alone, nothing leaks, nothing hangs (${usual})`,
      async fallback => {
        let fallbacks = 0
        const sound = await play(7, 0, usual, usual, fallback)
        expect(sound.flatMap(({ by }) => by).every(by => by === undefined)).toBe(true)
        for (const way of FAILING) {
          for (let broken = 1; broken <= STEPS; broken++) {
            const told = await play(7, broken, way, usual, fallback)
            const fellBack = told.filter(({ by }) => by.some(word => word !== undefined))
            // The failed call may have been a refund or a health check, which no fallback answers.
            expect(fellBack.length).toBeLessThanOrEqual(1)
            fallbacks += fellBack.length
            for (const { by, allowed } of fellBack) {
              const counted = fallback === 'memory' || fallback === 'degraded'
              expect(by.every(word => word === (counted ? 'local' : 'none'))).toBe(true)
              if (!counted) expect(allowed.every(word => word === (fallback === 'allow'))).toBe(true)
            }
          }
        }
        expect(fallbacks).toBeGreaterThan(60)
      },
    )
  }
})
