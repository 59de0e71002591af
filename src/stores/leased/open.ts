import type { Clock } from '../../clock.ts'
import { LeasedStore } from '../leased.ts'
import type { Store } from '../store.ts'

/** Units taken in advance and decided on here; `none`: every message asks. */
export type LeaseWord = 'auto' | 'none' | { readonly units?: number | 'auto'; readonly ttlMs?: number }

/** Puts a shared store on leases, if they are asked for. */
export function openLeased(
  store: Store,
  lease: LeaseWord,
  { nodes, clock }: { readonly nodes?: number | undefined; readonly clock?: Clock | undefined },
): Store {
  if (lease === 'none') return store
  return new LeasedStore({
    store,
    ...(lease === 'auto' ? {} : lease),
    ...(nodes === undefined ? {} : { nodes }),
    ...(clock === undefined ? {} : { clock }),
  })
}
