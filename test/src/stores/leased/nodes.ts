import { createLimit, type LimitSpec } from '../../../../src/algorithms/create-limit.ts'
import type { Limit } from '../../../../src/algorithms/limit-types.ts'
import type { Clock } from '../../../../src/core/clock.ts'
import { LeasedStore, type LeasedStoreOptions } from '../../../../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../../../../src/stores/memory/memory-store.ts'
import type { Charge, Store, Verdict } from '../../../../src/stores/store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

/** Nodes with leases over one shared store, on one clock that the test advances. */
export interface ClusterLoad {
  readonly clock: FakeClock
  readonly shared: MemoryStore
  /** Calls of the shared store so far. */
  readonly calls: { decide: number; refund: number }
  open(options?: Partial<LeasedStoreOptions>): LeasedStore
  /** Kills a node: it stops at once and its leases are lost. */
  crash(node: LeasedStore): void
}

export function openFleet(startMs = 1_700_000_000_000): ClusterLoad {
  const clock = new FakeClock(startMs)
  const shared = new MemoryStore({ clock })
  const calls = { decide: 0, refund: 0 }
  const dead = new Set<object>()

  /** The shared store as a node sees it: it answers with a delay and outlives the node. */
  const link = (node: object): Store => {
    const call = async <T>(run: () => T): Promise<T> => {
      const answer = run()
      await undefined
      return dead.has(node) ? new Promise<T>(() => {}) : answer
    }
    return {
      name: 'memory',
      algorithms: shared.algorithms,
      decide: (charges, options) => {
        calls.decide++
        return call(() => shared.decide(charges, options))
      },
      refund: charges => {
        calls.refund++
        return call(() => shared.refund(charges))
      },
      forget: selector => call(() => shared.forget(selector)),
      health: () => call(() => shared.health()),
      close: async () => {},
    }
  }

  const nodes = new Map<LeasedStore, object>()
  return {
    clock,
    shared,
    calls,
    open: options => {
      const node = {}
      const own: Clock = {
        now: () => clock.now(),
        after: (ms, run) => clock.after(ms, () => dead.has(node) || run()),
      }
      const store = new LeasedStore({ store: link(node), clock: own, ...options })
      nodes.set(store, node)
      return store
    },
    crash: store => {
      dead.add(nodes.get(store)!)
    },
  }
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

/** Whole units that the shared store has left for a key. */
export function left({ shared }: ClusterLoad, limit: Limit, key = 'k'): number {
  return shared.decide([charge(limit, { key, cost: 0 })], { commit: false })[0]!.remaining
}
