import type { Store } from '../../../src/index.ts'

/** The same store as an object of its own, which the gate asks about each message: it is neither a memory store nor has leases. */
export function storeWithoutFastPath(store: Store): Store {
  return {
    name: store.name,
    algorithms: store.algorithms,
    decide: (charges, options) => store.decide(charges, options),
    adopt: (limits, nowMs) => store.adopt?.(limits, nowMs),
    refund: charges => store.refund(charges),
    forget: selector => store.forget(selector),
    health: () => store.health(),
    close: () => store.close(),
  }
}
