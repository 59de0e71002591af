import { beforeEach, describe, expect, it } from 'vitest'
import { createLimit } from '../../../../src/algorithms/create-limit.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { LeasedStore } from '../../../../src/stores/leased/leased-store.ts'
import {
  ResilientStore,
  type ResilientStoreOptions,
} from '../../../../src/stores/resilient/resilient-store.ts'
import type { Charge, Fallback, StoreEvent, Verdict } from '../../../../src/stores/store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FaultyStore } from './faulty-store.ts'

const limit = createLimit({ name: 'ten', algorithm: 'fixed-window', count: 10, periodMs: 86_400_000 })
const other = createLimit({ name: 'other', algorithm: 'fixed-window', count: 10, periodMs: 86_400_000 })

let clock: FakeClock
let inner: FaultyStore
let events: StoreEvent[]
let logged: string[]

beforeEach(() => {
  clock = new FakeClock()
  inner = new FaultyStore(clock)
  events = []
  logged = []
})

function open(options: Partial<ResilientStoreOptions> = {}): ResilientStore {
  const log = (level: string) => (_context: object, text?: string) => void logged.push(`${level} ${text}`)
  const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
  const store = new ResilientStore({ store: inner, clock, logger, ...options })
  store.watch(event => events.push(event))
  return store
}

function one(fallback?: Fallback, cost = 1): Charge {
  return { limit, key: 'k', cost, ...(fallback === undefined ? {} : { fallback }) }
}

async function ask(store: ResilientStore, ...charges: Charge[]): Promise<readonly Verdict[]> {
  const answer = store.decide(charges, { commit: true })
  if (answer instanceof Promise) await clock.advanceAsync(250)
  return answer
}

/** Returns how many of the requested single units are allowed. */
async function admitted(store: ResilientStore, asked: number, fallback?: Fallback): Promise<number> {
  let count = 0
  for (let time = 0; time < asked; time++) {
    if ((await ask(store, one(fallback)))[0]!.allowed) count++
  }
  return count
}

describe('a resilient store', () => {
  it('offers leases in hand only while the store is known to answer', async () => {
    const leased = new LeasedStore({ store: inner, clock, units: 2, nodes: 1 })
    const store = open({ store: leased, threshold: 2 })
    expect(store.heldLeases).toBe(leased)
    inner.way = 'reject'
    await ask(store, one())
    expect(store.heldLeases).toBeUndefined()
    await ask(store, one())
    expect(store.state).toBe('open')
    expect(store.heldLeases).toBeUndefined()
    inner.way = 'now'
    await clock.advanceAsync(60_000)
    await ask(store, one())
    expect(store.state).toBe('closed')
    expect(store.heldLeases).toBe(leased)
    await store.close()
    expect(store.heldLeases).toBeUndefined()
  })

  it('returns synchronously what the store answers synchronously', () => {
    const answer = open().decide([one()], { commit: true })
    expect(answer).toEqual([{ allowed: true, remaining: 9, retryAfterMs: 0, resetMs: expect.any(Number) }])
    expect(inner.calls).toEqual(['decide'])
  })

  it('answers by its fallback at the millisecond of the timeout, not before', async () => {
    inner.way = 'hang'
    const store = open()
    let answer: readonly Verdict[] | undefined
    void (async () => {
      answer = await store.decide([one()], { commit: true })
    })()
    await clock.advanceAsync(249)
    expect(answer).toBeUndefined()
    await clock.advanceAsync(1)
    expect(answer).toMatchObject([{ allowed: true, remaining: 9, fallback: 'local' }])
  })

  it('stops asking after five failures, tries again after a minute and lets the store decide again', async () => {
    const store = open({ healthEveryMs: 3_600_000 })
    inner.way = 'reject'
    for (let time = 0; time < 20; time++) await ask(store, one())
    expect(inner.calls).toHaveLength(5)
    expect(store.state).toBe('open')
    inner.way = 'soon'
    await clock.advanceAsync(60_000)
    expect(store.state).toBe('half-open')
    expect(await ask(store, one())).toMatchObject([{ allowed: true, remaining: 9 }])
    expect(store.state).toBe('closed')
    expect(events).toMatchObject([
      { kind: 'state', store: 'faulty', state: 'open', ok: false, detail: 'rejected' },
      { state: 'half-open', ok: false },
      { state: 'closed', ok: true },
    ])
    expect(logged.filter(line => line.startsWith('warn'))).toEqual([
      'warn the store is unreachable, the fallback decides',
    ])
    expect(logged.filter(line => line.startsWith('info'))).toEqual(['info the store decides again'])
  })

  it('probes a store with one message at a time; the others do not wait', async () => {
    const store = open({ threshold: 1, healthEveryMs: 3_600_000 })
    inner.way = 'reject'
    await ask(store, one())
    await clock.advanceAsync(60_000)
    inner.way = 'hang'
    const answers = Array.from({ length: 100 }, () => store.decide([one('allow')], { commit: true }))
    expect(answers.filter(answer => answer instanceof Promise)).toHaveLength(1)
    expect(inner.calls.filter(call => call === 'decide')).toHaveLength(2)
    await clock.advanceAsync(250)
    expect(store.state).toBe('open')
  })

  it('does not recover on peeks alone: a replica answers them', async () => {
    const store = open({ threshold: 2, healthEveryMs: 3_600_000 })
    for (const way of ['reject', 'soon', 'reject'] as const) {
      inner.way = way
      const answer = store.decide([one()], { commit: way === 'reject' })
      await clock.advanceAsync(1)
      await answer
    }
    expect(store.state).toBe('open')
    await clock.advanceAsync(60_000)
    expect(store.decide([one()], { commit: false })).toMatchObject([{ fallback: 'local' }])
    expect(store.state).toBe('half-open')
  })

  it('probes early if the health is good, and counts a bad health as a failure', async () => {
    const store = open({ threshold: 2 })
    inner.way = 'reject'
    await ask(store, one())
    await clock.advanceAsync(30_000)
    expect(store.state).toBe('open')
    expect(inner.calls).toEqual(['decide', 'health'])
    inner.way = 'soon'
    await clock.advanceAsync(30_000)
    expect(store.state).toBe('half-open')
  })

  it('answers memory by the same limit, degraded by half of it, allow and deny without counting', async () => {
    inner.way = 'throw'
    for (const [fallback, count] of [
      ['memory', 10],
      ['degraded', 5],
      ['allow', 30],
      ['deny', 0],
    ] as const) {
      expect(await admitted(open({ fallback }), 30), fallback).toBe(count)
      // A charge that names a fallback uses its own.
      expect(await admitted(open({ fallback: 'deny' }), 30, fallback), fallback).toBe(count)
    }
    expect(await admitted(open({ fallback: 'degraded', nodes: 4 }), 30)).toBe(2)
    expect(await admitted(open({ fallback: 'degraded', nodes: 100 }), 30)).toBe(1)
    expect(await ask(open({ fallback: 'deny' }), one())).toEqual([
      { allowed: false, remaining: 0, retryAfterMs: 1_000, resetMs: 1_000, fallback: 'none' },
    ])
  })

  it('charges nothing for a message that one of its charges denies', async () => {
    inner.way = 'throw'
    const store = open()
    const denied: Charge = { limit: other, key: 'k', cost: 1, fallback: 'deny' }
    for (let time = 0; time < 5; time++) {
      expect(await ask(store, one(), denied)).toMatchObject([{ allowed: true }, { allowed: false }])
    }
    expect(await ask(store, one(), { ...denied, soft: true })).toMatchObject([
      { allowed: true, remaining: 9 },
      { allowed: false },
    ])
    expect(await ask(store, one())).toMatchObject([{ remaining: 8 }])
  })

  it('does not answer Infinity if a cost is too large only for the per-node limit', async () => {
    inner.way = 'throw'
    const store = open({ fallback: 'degraded' })
    expect(await ask(store, one(undefined, 6))).toMatchObject([{ allowed: false, retryAfterMs: 1_000 }])
    expect(await ask(store, one(undefined, 11))).toMatchObject([{ allowed: false, retryAfterMs: Infinity }])
  })

  it('refunds what a late answer took, so that the store counts only what it decided', async () => {
    inner.way = 'late'
    const store = open()
    expect(await ask(store, one(undefined, 4))).toMatchObject([{ remaining: 6, fallback: 'local' }])
    expect(inner.memory.decide([one()], { commit: false })).toMatchObject([{ remaining: 5 }])
    await clock.advanceAsync(2_000)
    expect(inner.calls).toEqual(['decide', 'refund'])
    expect(inner.memory.decide([one()], { commit: false })).toMatchObject([{ remaining: 9 }])
  })

  it('refunds nothing for a late answer that took nothing', async () => {
    inner.memory.decide([one(undefined, 10)], { commit: true })
    inner.way = 'late'
    const store = open()
    await ask(store, one())
    const look = store.decide([one()], { commit: false })
    await clock.advanceAsync(5_000)
    await look
    expect(inner.calls).toEqual(['decide', 'decide'])
  })

  it('refunds where the units were taken, also after an outage in between', async () => {
    const store = open({ threshold: 1 })
    const theirs = [one(undefined, 3)]
    await ask(store, ...theirs)
    inner.way = 'reject'
    const ours = [one(undefined, 5)]
    await ask(store, ...ours)
    expect(store.state).toBe('open')
    await store.refund(theirs)
    expect(inner.calls).toEqual(['decide', 'decide'])
    await store.refund(ours)
    expect(await ask(store, one())).toMatchObject([{ remaining: 9, fallback: 'local' }])
    inner.way = 'soon'
    await clock.advanceAsync(60_000)
    expect(await ask(store, one())).toMatchObject([{ remaining: 6 }])
    await store.refund(theirs)
    expect(await ask(store, one())).toMatchObject([{ remaining: 8 }])
  })

  it('reports health without asking a store while the breaker is open', async () => {
    const store = open({ threshold: 1 })
    expect(await store.health()).toMatchObject({ ok: true, state: 'closed', keys: 0 })
    inner.way = 'reject'
    await ask(store, one())
    const calls = inner.calls.length
    expect(await store.health()).toEqual({
      ok: false,
      state: 'open',
      fallback: 'memory',
      detail: 'rejected',
    })
    expect(inner.calls).toHaveLength(calls)
  })

  it('forgets in both, and reports if the store could not', async () => {
    const store = open()
    await ask(store, one())
    expect(await store.forget({ rule: 'ten' })).toBe(1)
    for (const way of ['throw', 'reject', 'hang'] as const) {
      inner.way = way
      const forgotten = expect(store.forget({})).rejects.toMatchObject({
        code: 'TOPICGATE_STORE',
        message: expect.stringContaining('did not forget'),
      })
      await clock.advanceAsync(10_000)
      await forgotten
    }
  })

  it('keeps a bounded number of pending decisions: the fallback makes the rest', async () => {
    inner.way = 'hang'
    // A fake clock searches for its next timer, which takes long with so many.
    const due: (() => void)[] = []
    const after = (_ms: number, run: () => void) => {
      due.push(run)
      return () => {}
    }
    const store = open({ fallback: 'deny', clock: { now: () => clock.now(), after } })
    const answers: unknown[] = []
    for (let sent = 0; sent < MAX_SIZES.pendingStoreDecisions + 100; sent++) {
      answers.push(store.decide([one()], { commit: true }))
    }
    expect(inner.calls).toHaveLength(MAX_SIZES.pendingStoreDecisions)
    expect(answers.filter(answer => answer instanceof Promise)).toHaveLength(MAX_SIZES.pendingStoreDecisions)
    expect(answers.at(-1)).toMatchObject([{ allowed: false, fallback: 'none' }])
    for (const run of due.splice(1)) run()
    const verdicts = await Promise.all(answers)
    expect(verdicts.flat()).toHaveLength(MAX_SIZES.pendingStoreDecisions + 100)
    expect(store.state).toBe('open')
  })

  it('closes once, with no pending answers, and gives up on a store that does not close', async () => {
    inner.way = 'hang'
    const store = open({ fallback: 'allow' })
    const owed = [store.decide([one()], { commit: true }), store.decide([one('memory')], { commit: false })]
    const closed = store.close()
    expect(await Promise.all(owed)).toMatchObject([[{ fallback: 'none' }], [{ fallback: 'local' }]])
    await clock.advanceAsync(10_000)
    await closed
    await store.close()
    expect(() => store.decide([one()], { commit: true })).toThrow('closed')
    expect(inner.calls).toEqual(['decide', 'decide', 'close'])
    expect(clock.pending).toBe(0)
  })

  it('survives listeners that throw and odd causes', async () => {
    const store = open({ threshold: 1 })
    store.watch(() => {
      throw new Error('a listener')
    })
    inner.way = 'throw'
    expect(await ask(store, one())).toMatchObject([{ fallback: 'local' }])
    expect(logged).toContain('error a listener threw')
  })

  it.each([
    { timeoutMs: 0 },
    { threshold: 0.5 },
    { recoveryMs: Number.NaN },
    { nodes: -1 },
    { fallback: 'half' as Fallback },
  ])('refuses %j', options => {
    expect(() => open(options)).toThrow(expect.objectContaining({ code: 'TOPICGATE_POLICY' }))
  })
})
