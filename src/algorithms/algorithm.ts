/**
 * A limiting algorithm as one pure whole-number step. `state` undefined means a key never seen.
 * A denied step returns the state unchanged. All times are whole milliseconds.
 */
export interface Algorithm<Params, State> {
  readonly name: string
  step(state: State | undefined, nowMs: number, cost: number, params: Params): Step<State>
}

export interface Step<State> {
  readonly state: State
  readonly allowed: boolean
  /** Whole units left after this step. */
  readonly remaining: number
  /** Least wait after which the same cost passes, 0 when allowed, Infinity when it never can. */
  readonly retryAfterMs: number
  /** Until the key is whole again. */
  readonly resetMs: number
  /** After this the state equals no state and may be forgotten; Infinity if it never does. */
  readonly expireInMs: number
}
