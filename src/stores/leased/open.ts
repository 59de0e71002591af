import type { Clock } from '../../core/clock.ts'
import type { Store } from '../store.ts'
import { LeasedStore } from './leased-store.ts'

/** Units taken in advance and decided on here; `none`: every message asks. */
export type LeaseWord = 'auto' | 'none' | LeaseUnits

/** Units to take at once and how long they last; `ttl: '2s'` is `ttlMs: 2000`. */
export interface LeaseUnits {
  readonly units?: number | 'auto' | undefined
  readonly ttl?: string | undefined
  readonly ttlMs?: number | undefined
}

/** Puts a shared store on leases, if they are asked for. */
export function openLeased(
  store: Store,
  lease: LeaseWord,
  { nodes, clock }: { readonly nodes?: number | undefined; readonly clock?: Clock | undefined },
): Store {
  if (lease === 'none') return store
  const { units, ttlMs }: LeaseUnits = lease === 'auto' ? {} : lease
  return new LeasedStore({
    store,
    ...(units === undefined ? {} : { units }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(nodes === undefined ? {} : { nodes }),
    ...(clock === undefined ? {} : { clock }),
  })
}
