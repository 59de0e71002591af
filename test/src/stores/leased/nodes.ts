import { createLimit, type LimitSpec } from '../../../../src/algorithms/create-limit.ts'
import type { Limit } from '../../../../src/algorithms/limit.ts'
import { LeasedStore, type LeasedStoreOptions } from '../../../../src/stores/leased.ts'
import { MemoryStore } from '../../../../src/stores/memory.ts'
import type { Charge, Store, Verdict } from '../../../../src/stores/store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

/** Some nodes with leases over one shared store, on one clock that is moved by hand. */
export interface Fleet {
  readonly clock: FakeClock
  readonly shared: MemoryStore
  /** Calls of the shared store so far. */
  readonly calls: { decide: number; refund: number }
  open(options?: Partial<LeasedStoreOptions>): LeasedStore
}

/** The shared store as a node sees it: one that answers in its own time, and outlives the node. */
export function openFleet(startMs = 1_700_000_000_000): Fleet {
  const clock = new FakeClock(startMs)
  const shared = new MemoryStore({ clock })
  const calls = { decide: 0, refund: 0 }
  const link: Store = {
    name: 'memory',
    algorithms: shared.algorithms,
    decide: async (charges, options) => {
      calls.decide++
      return shared.decide(charges, options)
    },
    refund: async charges => {
      calls.refund++
      shared.refund(charges)
    },
    forget: async selector => shared.forget(selector),
    health: async () => shared.health(),
    close: async () => {},
  }
  return { clock, shared, calls, open: options => new LeasedStore({ store: link, clock, ...options }) }
}

export function bucket(spec: Partial<LimitSpec> = {}): Limit {
  return createLimit({ name: 'rule', algorithm: 'token-bucket', count: 10_000, periodMs: 1_000, ...spec })
}

export function charge(limit: Limit, more: Partial<Charge> = {}): Charge {
  return { limit, key: 'k', cost: 1, ...more }
}

/** One message of one rule. */
export async function take(store: Store, limit: Limit, more: Partial<Charge> = {}): Promise<Verdict> {
  return (await store.decide([charge(limit, more)], { commit: true }))[0]!
}

/** Whole units the shared store has left of a key. */
export function left({ shared }: Fleet, limit: Limit, key = 'k'): number {
  return shared.decide([charge(limit, { key, cost: 0 })], { commit: false })[0]!.remaining
}
