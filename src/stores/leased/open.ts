import type { Clock } from '../../core/clock.ts'
import type { Store } from '../store.ts'
import { LeasedStore } from './leased-store.ts'

/** Lease setting: automatic size, none (every message asks the store), or explicit units. */
export type LeaseSetting = 'auto' | 'none' | LeaseSizeSetting

/** Units per lease and their time to live; `ttl: '2s'` is `ttlMs: 2000`. */
export interface LeaseSizeSetting {
  readonly units?: number | 'auto' | undefined
  readonly ttl?: string | undefined
  readonly ttlMs?: number | undefined
}

/** Wraps a shared store in a LeasedStore, unless `lease` is `none`. */
export function openLeased(
  store: Store,
  lease: LeaseSetting,
  { nodes, clock }: { readonly nodes?: number | undefined; readonly clock?: Clock | undefined },
): Store {
  if (lease === 'none') return store
  const { units, ttlMs }: LeaseSizeSetting = lease === 'auto' ? {} : lease
  return new LeasedStore({ store, units, ttlMs, nodes, clock })
}
