/**
 * State of middleware that survives a reload of the policy. Middleware with an equal key in the new policy
 * continues with the same value.
 */
export class StateKeptAcrossReload<T> {
  /** Identifies the kind and the settings of the middleware. Undefined if no other middleware may continue it. */
  readonly key: string | undefined
  value: T

  constructor(key: string | undefined, value: T) {
    this.key = key
    this.value = value
  }
}

/** Gives each added state the value of a removed one with an equal key. Each value is given once. */
export function carryOverReloadStates(
  before: readonly StateKeptAcrossReload<unknown>[],
  after: readonly StateKeptAcrossReload<unknown>[],
): void {
  const removed = before.filter(state => state.key !== undefined && !after.includes(state))
  for (const state of after) {
    if (before.includes(state)) continue
    const index = removed.findIndex(({ key }) => key === state.key)
    if (index >= 0) state.value = removed.splice(index, 1)[0]!.value
  }
}
