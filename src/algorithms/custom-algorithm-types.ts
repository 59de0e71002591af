/**
 * A limiting algorithm as one pure step in whole numbers. `state` is undefined for an unseen key. A denied
 * step returns the state unchanged. All times are whole milliseconds.
 */
export interface Algorithm<Params, State> {
  readonly name: string
  step(state: State | undefined, nowMs: number, cost: number, params: Params): StepResult<State>
}

export interface StepResult<State> {
  readonly state: State
  readonly allowed: boolean
  /** Remaining whole units after this step. */
  readonly remaining: number
  /** Shortest wait after which the same cost passes; 0 if allowed, Infinity if it never can. */
  readonly retryAfterMs: number
  /** Time until the key is full again. */
  readonly resetMs: number
  /** Time after which the state equals no state and may be forgotten; Infinity if never. */
  readonly expireInMs: number
}

/** Numbers of a rule: units per period, and the most it may hold (its burst). */
export interface LimitNumbers {
  readonly count: number
  readonly periodMs: number
  readonly capacity: number
}

/** State of a custom algorithm: finite numbers. An empty state is not stored; the next step receives undefined. */
export type CustomState = readonly number[]

/**
 * A custom algorithm: a pure step over a short list of numbers. `cost` is in units, in thousandths if costs
 * may be fractional. Stores keep the state of an allowed step and forget it after `expireInMs`. The state of
 * a denied step is discarded. `nowMs` may be earlier than before; a clock that steps back must not return
 * units. `algorithmConformance` of topicgate/testing checks all of this.
 */
export interface CustomAlgorithm extends Algorithm<LimitNumbers, CustomState> {
  /** Name in policies: small letters, digits and dashes. */
  readonly name: string
  /**
   * The same step for Redis: the body of a Lua 5.1 `function(state, now, cost, limit)`. `state` is a table or
   * nil; `limit` has count, periodMs and capacity. Returns a table with state, allowed, remaining,
   * retryAfterMs (-1: never), resetMs and expireInMs. Without it, Redis stores refuse rules of this
   * algorithm.
   */
  readonly lua?: string | undefined
  /**
   * Returns the state after `cost` units are refunded; not longer than the given one. Without it nothing is
   * refunded: units of a message that is refused later stay charged.
   */
  refund?(state: CustomState, nowMs: number, cost: number, limit: LimitNumbers): CustomState
  /**
   * The same refund for Redis: the body of a Lua `function(state, now, cost, limit)` that returns the state.
   * Required on Redis if the algorithm has a refund.
   */
  readonly luaRefund?: string | undefined
  /** Maximum numbers in a state. The memory store keeps fewer keys for larger states. Default: 256. */
  readonly stateSize?: number | undefined
}
