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

/** Numbers of a rule: units per period, and the most it may hold (its burst). */
export interface LimitNumbers {
  readonly count: number
  readonly periodMs: number
  readonly capacity: number
}

/** The state of a custom algorithm: plain finite numbers. An empty one is not kept: the next step is given none. */
export type CustomState = readonly number[]

/**
 * An algorithm of one's own: a pure step over a short list of numbers. `cost` comes in units (thousandths where a
 * rule's costs may be fractions). Stores keep the state of an allowed step and forget it after `expireInMs`; that of a
 * denied step is thrown away. `nowMs` may lie before an earlier one: the step itself sees to it that a stumble gives
 * nothing back. `algorithmConformance` of topicgate/testing holds it to all this.
 */
export interface CustomAlgorithm extends Algorithm<LimitNumbers, CustomState> {
  /** Small letters, digits and dashes; its name in policies. */
  readonly name: string
  /**
   * The step's twin for Redis: the body of a Lua 5.1 `function(state, now, cost, limit)`. `state` is a table or nil,
   * `limit` has count, periodMs and capacity. Returns a table with state, allowed, remaining, retryAfterMs (-1: never),
   * resetMs and expireInMs. Without it, a rule of this algorithm is refused on Redis.
   */
  readonly lua?: string | undefined
  /**
   * The state after `cost` units are given back; no longer than the one given. Without it nothing is given back: what
   * a message took that is refused later stays taken.
   */
  refund?(state: CustomState, nowMs: number, cost: number, limit: LimitNumbers): CustomState
  /**
   * The refund's twin: the body of a Lua `function(state, now, cost, limit)` that returns the state. An algorithm with a
   * refund and no such twin is refused on Redis.
   */
  readonly luaRefund?: string | undefined
  /** Most numbers a state may hold; the memory store keeps the fewer keys the larger it is. Default: 256. */
  readonly stateSize?: number | undefined
}
