import type { Middleware } from '../chain/middleware.ts'
import type { Handled, HandlerMeta } from '../chain/rules/handler-feedback.ts'
import { META } from '../chain/rules/rule.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { andThen } from '../core/maybe-promise.ts'

export interface FeedbackOptions {
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
export interface Feedback {
  /** Records the result of a handler. Not needed if a consumer of topicgate runs the handler. */
  observe(latencyMs: number, ok: boolean): void
  /** Current rate per second. */
  readonly perSecond: number
  /** Middleware that admits at this rate: `gate.use(feedback.admit)`. */
  readonly admit: Middleware
}

/** Measurements of one interval. */
export interface Observed {
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
export type Law = (observed: Observed) => number | undefined

const LEAST_MS = 10
/** Burst as a share of the rate per second: a handler never gets a larger one. */
const BURST_SECONDS = 0.05

interface State {
  perSecond: number
  tokens: number
  filledMs: number
  sinceMs: number
  done: number
  failed: number
  sumMs: number
  refused: number
}

/** Metadata of a feedback, which a successor with the same options can take over. */
interface FeedbackStation extends HandlerMeta {
  readonly says: string
  state(): State
}

/**
 * Creates a rate that a control law adjusts at intervals, enforced by a token bucket. `says` identifies the
 * law and its options. Throws PolicyError.
 */
export function feedbackOf(options: FeedbackOptions, says: string, law: Law): Feedback {
  const { minPerSecond = 1, maxPerSecond = 10_000, everyMs = 200, exceeded = 'retry' } = options
  const { startPerSecond = minPerSecond, name = 'feedback' } = options
  if (!(minPerSecond > 0 && maxPerSecond >= minPerSecond && maxPerSecond <= MAX_SIZES.feedbackPerSecond)) {
    const remedy = `the least is above 0 and not above the most, which is ${MAX_SIZES.feedbackPerSecond} a second or less`
    throw policyError('minPerSecond', `${minPerSecond} to ${maxPerSecond} is no range`, remedy)
  }
  if (!(startPerSecond >= minPerSecond && startPerSecond <= maxPerSecond)) {
    throw policyError(
      'startPerSecond',
      `${startPerSecond} is not in the range`,
      'begin between the least and the most',
    )
  }
  if (!(everyMs >= LEAST_MS))
    throw policyError('everyMs', `${everyMs} is no interval`, `use at least ${LEAST_MS}`)
  let clock = options.clock ?? systemClock
  let state = begin(startPerSecond, clock.now())

  /** Adjusts the rate on the next call, so that no timer is needed. */
  const settle = (nowMs: number): void => {
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
  const tokensAt = (nowMs: number): number => {
    const most = Math.max(1, state.perSecond * BURST_SECONDS)
    const refilled = (Math.max(0, nowMs - state.filledMs) * state.perSecond) / 1000
    return Math.min(most, state.tokens + refilled)
  }
  const refuse = (tokens: number): Decision => ({
    ...{ allowed: false, outcome: exceeded, reason: 'handler_busy', rule: name },
    retryAfterMs: Math.max(1, Math.ceil(((1 - tokens) * 1000) / state.perSecond)),
  })
  const admit: Middleware = (_message, next) => {
    const nowMs = clock.now()
    settle(nowMs)
    state.tokens = tokensAt(nowMs)
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
    return refuse(state.tokens)
  }
  const observe = (latencyMs: number, ok: boolean): void => {
    if (ok) state.done++
    else state.failed++
    state.sumMs += latencyMs >= 0 ? latencyMs : 0
    settle(clock.now())
  }
  const meta: FeedbackStation = {
    ...{ kind: 'handler', name, enabled: true, priority: 0, outcome: exceeded },
    says: JSON.stringify([says, { ...options, clock: undefined }]),
    state: () => state,
    observe: (_message, { durationMs, ok }: Handled) => observe(durationMs, ok),
    refusal: () => {
      const tokens = tokensAt(clock.now())
      return tokens >= 1 ? undefined : refuse(tokens)
    },
    describe: () => {
      const verdict = tokensAt(clock.now()) >= 1 ? 'passes' : `is answered ${exceeded}`
      return `${verdict}: the handler is given ${Math.round(state.perSecond * 10) / 10} a second`
    },
    attach(host) {
      if (options.clock !== undefined || host.clock === clock) return
      clock = host.clock
      state.filledMs = state.sinceMs = clock.now()
    },
    inherit(other) {
      const { says: theirs, state: found } = other as Partial<FeedbackStation>
      if (theirs !== meta.says || found === undefined) return false
      state = found()
      return true
    },
  }
  return {
    observe,
    get perSecond() {
      return state.perSecond
    },
    admit: Object.assign(admit, { [META]: meta }),
  }
}

function begin(perSecond: number, nowMs: number): State {
  return { perSecond, tokens: 1, filledMs: nowMs, sinceMs: nowMs, done: 0, failed: 0, sumMs: 0, refused: 0 }
}
