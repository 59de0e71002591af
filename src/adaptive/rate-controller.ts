import type { Middleware } from '../chain/middleware-types.ts'
import { MIDDLEWARE_META } from '../chain/rules/create-limit-middleware.ts'
import type { HandlerFeedbackMeta, HandlerResult } from '../chain/rules/handler-feedback-types.ts'
import { StateKeptAcrossReload } from '../chain/rules/reload-state.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { andThen } from '../core/maybe-promise.ts'

export interface FeedbackLimiterOptions {
  /** Name in its refusals. Default: feedback. */
  readonly name?: string | undefined
  /** Lowest and highest rate per second. Default: 1 and 10,000. */
  readonly minPerSecond?: number | undefined
  readonly maxPerSecond?: number | undefined
  /** Initial rate. Default: the lowest. */
  readonly startPerSecond?: number | undefined
  /** Mean latency above which the handler cannot keep up. Default: 100. */
  readonly latencyMs?: number | undefined
  /** Interval of rate changes. Default: 200. */
  readonly everyMs?: number | undefined
  /** Outcome of messages above the rate. Default: retry. */
  readonly exceeded?: 'retry' | 'throttle' | 'drop' | 'reject' | undefined
  /** Default: the gate's clock. */
  readonly clock?: Clock | undefined
}

/** Admits messages at the rate that their handler can process. */
export interface FeedbackLimiter {
  /** Records the result of a handler. Not needed if a consumer of topicgate runs the handler. */
  observe(latencyMs: number, ok: boolean): void
  /** Current rate per second. */
  readonly perSecond: number
  /** Middleware that admits at this rate: `gate.use(feedback.admit)`. */
  readonly admit: Middleware
}

/** Measurements of one interval. */
export interface IntervalMeasurements {
  readonly perSecond: number
  /** Successful messages per second. */
  readonly donePerSecond: number
  readonly meanMs: number
  /** Share of failures. */
  readonly failed: number
  /** True if more messages arrived than were admitted. */
  readonly isPressed: boolean
}

/** Returns the next rate; undefined to keep it. */
export type ControlLaw = (observed: IntervalMeasurements) => number | undefined

const LEAST_MS = 10
/** Burst as a share of the rate per second: a handler never gets a larger one. */
const BURST_SECONDS = 0.05

interface RateState {
  clock: Clock
  perSecond: number
  tokens: number
  filledMs: number
  sinceMs: number
  done: number
  failed: number
  sumMs: number
  refused: number
}

/**
 * Creates a rate that a control law adjusts at intervals, enforced by a token bucket. Throws PolicyError.
 * After a reload, a feedback with the same law and options continues.
 */
export function createRateController(
  lawName: string,
  options: FeedbackLimiterOptions,
  law: ControlLaw,
): FeedbackLimiter {
  const { minPerSecond = 1, maxPerSecond = 10_000, everyMs = 200, exceeded = 'retry' } = options
  const { startPerSecond = minPerSecond, name = 'feedback' } = options
  if (!(minPerSecond > 0 && maxPerSecond >= minPerSecond && maxPerSecond <= MAX_SIZES.feedbackPerSecond)) {
    const remedy = `use a lowest rate above 0 and a highest rate of at most ${MAX_SIZES.feedbackPerSecond} per second`
    throw policyError('minPerSecond', `${minPerSecond} to ${maxPerSecond} is not a range`, remedy)
  }
  if (!(startPerSecond >= minPerSecond && startPerSecond <= maxPerSecond)) {
    throw policyError(
      'startPerSecond',
      `${startPerSecond} is not in the range`,
      'start between the lowest and the highest rate',
    )
  }
  if (!(everyMs >= LEAST_MS))
    throw policyError('everyMs', `${everyMs} is not an interval`, `use at least ${LEAST_MS}`)
  const reloadState = new StateKeptAcrossReload(
    JSON.stringify(['feedback', lawName, { ...options, clock: undefined }]),
    createRateState(startPerSecond, options.clock ?? systemClock),
  )

  /** Adjusts the rate on the next call, so that no timer is needed. */
  const adjustRate = (state: RateState, nowMs: number): void => {
    const elapsedMs = nowMs - state.sinceMs
    if (elapsedMs < everyMs) return
    const { perSecond, done, failed, sumMs, refused } = state
    const seen = done + failed
    if (seen > 0) {
      const next = law({
        perSecond,
        donePerSecond: (done * 1000) / elapsedMs,
        meanMs: sumMs / seen,
        failed: failed / seen,
        isPressed: refused > 0,
      })
      if (next !== undefined && next > 0)
        state.perSecond = Math.min(maxPerSecond, Math.max(minPerSecond, next))
    }
    state.sinceMs = nowMs
    state.done = state.failed = state.sumMs = state.refused = 0
  }
  const tokensAt = (state: RateState, nowMs: number): number => {
    const most = Math.max(1, state.perSecond * BURST_SECONDS)
    const refilled = (Math.max(0, nowMs - state.filledMs) * state.perSecond) / 1000
    return Math.min(most, state.tokens + refilled)
  }
  const refuse = (state: RateState, tokens: number): Decision => ({
    allowed: false,
    outcome: exceeded,
    reason: 'handler_busy',
    rule: name,
    retryAfterMs: Math.max(1, Math.ceil(((1 - tokens) * 1000) / state.perSecond)),
  })
  const admit: Middleware = (_message, next) => {
    const state = reloadState.value
    const nowMs = state.clock.now()
    adjustRate(state, nowMs)
    state.tokens = tokensAt(state, nowMs)
    state.filledMs = Math.max(state.filledMs, nowMs)
    if (state.tokens >= 1) {
      state.tokens--
      // A message refused by a limit does not reach the handler.
      return andThen(next(), decision => {
        if (!decision.allowed) state.tokens++
        return decision
      })
    }
    state.refused++
    return refuse(state, state.tokens)
  }
  const observe = (latencyMs: number, ok: boolean): void => {
    const state = reloadState.value
    if (ok) state.done++
    else state.failed++
    state.sumMs += latencyMs >= 0 ? latencyMs : 0
    adjustRate(state, state.clock.now())
  }
  const meta: HandlerFeedbackMeta = {
    kind: 'handler',
    name,
    enabled: true,
    priority: 0,
    outcome: exceeded,
    state: reloadState,
    observe: (_message, { durationMs, ok }: HandlerResult) => observe(durationMs, ok),
    refusal: () => {
      const state = reloadState.value
      const tokens = tokensAt(state, state.clock.now())
      return tokens >= 1 ? undefined : refuse(state, tokens)
    },
    describe: () => {
      const state = reloadState.value
      const verdict = tokensAt(state, state.clock.now()) >= 1 ? 'passes' : `is answered ${exceeded}`
      return `${verdict}: the handler is given ${Math.round(state.perSecond * 10) / 10} a second`
    },
    perSecond: () => reloadState.value.perSecond,
    attach(host) {
      const state = reloadState.value
      if (options.clock !== undefined || host.clock === state.clock) return
      state.clock = host.clock
      state.filledMs = state.sinceMs = host.clock.now()
    },
  }
  return {
    observe,
    get perSecond() {
      return reloadState.value.perSecond
    },
    admit: Object.assign(admit, { [MIDDLEWARE_META]: meta }),
  }
}

function createRateState(perSecond: number, clock: Clock): RateState {
  const nowMs = clock.now()
  return {
    clock,
    perSecond,
    tokens: 1,
    filledMs: nowMs,
    sinceMs: nowMs,
    done: 0,
    failed: 0,
    sumMs: 0,
    refused: 0,
  }
}
