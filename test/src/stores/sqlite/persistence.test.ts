import { describe, expect, it } from 'vitest'
import { defineAlgorithm } from '../../../../src/algorithms/index.ts'
import { Gate, MemoryStore, quota } from '../../../../src/index.ts'
import type { Verdict } from '../../../../src/stores/store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { DRIVERS } from './drivers.ts'
import { charge, makeLimit, newFile, open, remaining } from './harness.ts'

const HOUR_MS = 3_600_000
const BERLIN = { unit: 'day', zone: 'Europe/Berlin' } as const

describe.each(DRIVERS)('state in a file, with %s', driver => {
  it('outlives the store that wrote it', async () => {
    const clock = new FakeClock()
    const path = newFile()
    const limit = makeLimit()
    const first = await open(path, { clock }, driver)
    await charge(first, limit, 'a', 2)
    await first.close()
    const second = await open(path, { clock }, driver)
    expect(await remaining(second, limit, 'a')).toBe(1)
    expect(await remaining(second, limit, 'b')).toBe(3)
  })

  it('is shared by two stores on one file', async () => {
    const clock = new FakeClock()
    const path = newFile()
    const limit = makeLimit({ count: 10 })
    const stores = [await open(path, { clock }, driver), await open(path, { clock }, driver)]
    const asked = Array.from({ length: 30 }, (_, index) => charge(stores[index % 2]!, limit))
    // A store that meets the lock of the other retries by its clock.
    const ticking = setInterval(() => clock.advance(5), 1)
    const verdicts = await Promise.all(asked)
    clearInterval(ticking)
    expect(verdicts.filter(({ allowed }) => allowed)).toHaveLength(10)
  })

  // Clocks go forward on 29 March 2026 and back on 25 October 2026.
  it.each([
    { day: 'of 23 hours', midnight: '2026-03-28T23:00:00Z', hours: 23 },
    { day: 'of 25 hours', midnight: '2026-10-24T22:00:00Z', hours: 25 },
  ])('a daily quota lasts a day $day and turns at local midnight', async ({ midnight, hours }) => {
    const startMs = Date.parse(midnight)
    const clock = new FakeClock(startMs)
    const path = newFile()
    const limit = makeLimit({ algorithm: 'quota', count: 5, periodMs: 24 * HOUR_MS, calendar: BERLIN })
    const reopened = async <T>(run: (store: Awaited<ReturnType<typeof open>>) => Promise<T>): Promise<T> => {
      const store = await open(path, { clock }, driver)
      const answer = await run(store)
      await store.close()
      return answer
    }
    expect(await reopened(store => charge(store, limit, '', 3))).toMatchObject({ remaining: 2 })
    clock.set(startMs + 12 * HOUR_MS)
    expect(await reopened(store => charge(store, limit, '', 2))).toMatchObject({ remaining: 0 })
    const refused = await reopened(store => charge(store, limit))
    expect(refused).toMatchObject({ allowed: false, retryAfterMs: (hours - 12) * HOUR_MS })
    clock.set(startMs + hours * HOUR_MS - 1)
    expect(await reopened(store => charge(store, limit))).toMatchObject({ allowed: false, retryAfterMs: 1 })
    clock.set(startMs + hours * HOUR_MS)
    expect(await reopened(store => charge(store, limit))).toMatchObject({ allowed: true, remaining: 4 })
  })

  it('a quota of a gate outlives the gate, and names itself when it is exceeded', async () => {
    const startMs = Date.parse('2026-10-24T22:00:00Z')
    const clock = new FakeClock(startMs)
    const path = newFile()
    const message = { topic: 'a', on: 'publish', sender: { client: 'c' }, size: 0 } as const
    const allowed: boolean[] = []
    const wholeDay = [0, 1, 24, 24.99, 25]
    for (const hour of wholeDay) {
      clock.set(startMs + hour * HOUR_MS)
      const gate = new Gate({ clock, store: await open(path, { clock }, driver) })
      gate.use('#', quota({ name: 'daily', rate: '2/day', per: 'client', zone: 'Europe/Berlin' }))
      const decision = await gate.check(message)
      allowed.push(decision.allowed)
      if (!decision.allowed) expect(decision).toMatchObject({ rule: 'daily', reason: 'quota_exceeded' })
      await gate.close()
    }
    expect(allowed).toEqual([true, true, false, false, true])
  })
})

describe('a rule with changed numbers', () => {
  /** Uses some units, changes the numbers, and charges one more later: in memory and in a file. */
  async function both(before: object, after: object, laterMs: number): Promise<[Verdict, Verdict]> {
    const answers: Verdict[] = []
    for (const kind of ['memory', 'file']) {
      const clock = new FakeClock(1_700_000_000_000)
      const path = newFile()
      let store = kind === 'memory' ? new MemoryStore({ clock }) : await open(path, { clock })
      await charge(store, makeLimit(before), 'a', 3)
      clock.set(clock.now() + 1_000)
      // Any decision of the rule makes the new numbers known; the key itself is not read.
      await charge(store, makeLimit(after), 'b')
      if (kind === 'file') {
        await store.close()
        store = await open(path, { clock })
      }
      clock.set(clock.now() + laterMs)
      answers.push(await charge(store, makeLimit(after), 'a'))
      await store.close()
    }
    return [answers[0]!, answers[1]!]
  }

  const window = { algorithm: 'fixed-window' } as const
  it.each([
    { what: 'a larger burst', before: {}, after: { burst: 9 } },
    { what: 'a smaller rate', before: { count: 10 }, after: { count: 4 } },
    { what: 'another period', before: {}, after: { periodMs: 3_600_000 } },
    { what: 'another algorithm', before: {}, after: window },
    { what: 'a log', before: window, after: { algorithm: 'sliding-log' as const } },
    { what: 'fractions', before: window, after: { ...window, fractional: true } },
  ])('$what: what was used stays used, as in memory', async ({ before, after }) => {
    for (const laterMs of [0, 10_000, 50_000]) {
      const [memory, file] = await both(before, after, laterMs)
      expect(file).toEqual(memory)
    }
  })

  it('what was used today counts for the month, even if the sweep runs tomorrow', async () => {
    const clock = new FakeClock(Date.parse('2026-05-05T12:00:00Z'))
    const store = await open(newFile(), { clock })
    const of = (unit: 'day' | 'month') =>
      makeLimit({ algorithm: 'quota', count: 5, periodMs: 1, calendar: { unit, zone: 'UTC' } })
    await charge(store, of('day'), 'a', 4)
    await charge(store, of('month'), 'b')
    clock.set(Date.parse('2026-05-06T12:00:00Z'))
    await clock.advanceAsync(3_000)
    expect(await store.health()).toMatchObject({ keys: 2 })
    expect(await remaining(store, of('month'), 'a')).toBe(1)
  })
})

it('runs custom algorithms, and one that throws affects no other decision', async () => {
  const clock = new FakeClock()
  const path = newFile()
  const own = (name: string, mayThrow: boolean) =>
    defineAlgorithm({
      name,
      step(state, nowMs, cost, { count, periodMs }) {
        if (mayThrow) throw new Error('broken')
        const [used = 0, endMs = nowMs + periodMs] = state ?? []
        const allowed = used + cost <= count
        const waitMs = Math.max(0, endMs - nowMs)
        return {
          state: [used + cost, endMs],
          allowed,
          remaining: Math.max(0, count - used - (allowed ? cost : 0)),
          retryAfterMs: allowed ? 0 : waitMs,
          resetMs: waitMs,
          expireInMs: waitMs,
        }
      },
    })
  const good = makeLimit({ name: 'good', algorithm: own('mine', false) })
  const bad = makeLimit({ name: 'bad', algorithm: own('broken', true) })
  const store = await open(path, { clock })
  const settled = await Promise.allSettled([good, bad, good, bad].map(limit => charge(store, limit)))
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected'])
  await store.close()
  const again = await open(path, { clock })
  expect((await charge(again, good)).remaining).toBe(0)
  expect((await charge(again, good)).allowed).toBe(false)
})
