import { BOUNDS } from '../bounds.ts'
import type { Middleware } from '../chain/middleware.ts'
import { type Clock, systemClock } from '../clock.ts'
import type { Decision } from '../decision.ts'
import { policyError } from '../errors.ts'

export interface FeedbackOptions {
  /** Rates a second between which it moves. Default: 1 and 10,000. */
  readonly minPerSecond?: number
  readonly maxPerSecond?: number
  /** Where it begins. Default: the least. */
  readonly startPerSecond?: number
  /** A mean latency above this means that the handler cannot keep up. Default: 100. */
  readonly latencyMs?: number
  /** How often the rate is set. Default: 200. */
  readonly everyMs?: number
  /** What becomes of messages beyond the rate. Default: retry. */
  readonly exceeded?: 'retry' | 'throttle' | 'drop' | 'reject'
  readonly clock?: Clock
}

/** Admits messages at the rate their handler can keep up with. */
export interface Feedback {
  /** To be told after each message: how long the handler took, from its admission on, and whether it succeeded. */
  observe(latencyMs: number, ok: boolean): void
  /** The rate in force, a second. */
  readonly perSecond: number
  /** Admits at that rate: `gate.use(feedback.admit)`. */
  readonly admit: Middleware
}

/** What was observed in one interval. */
export interface Observed {
  readonly perSecond: number
  /** Messages that succeeded, a second. */
  readonly donePerSecond: number
  readonly meanMs: number
  /** Share of failures. */
  readonly failed: number
  /** Whether more was asked for than admitted. */
  readonly isPressed: boolean
}

/** The next rate; undefined where it is to stay. */
export type Law = (observed: Observed) => number | undefined

const LEAST_MS = 10
/** Rates are paced to this much of a second: a handler sees no larger burst. */
const BURST_SECONDS = 0.05

/** A rate that is set by a law every so often, and a bucket that admits at it. Throws PolicyError. */
export function feedbackOf(options: FeedbackOptions, law: Law): Feedback {
  const { minPerSecond = 1, maxPerSecond = 10_000, everyMs = 200, exceeded = 'retry' } = options
  const { startPerSecond = minPerSecond, clock = systemClock } = options
  if (!(minPerSecond > 0 && maxPerSecond >= minPerSecond && maxPerSecond <= BOUNDS.feedbackPerSecond)) {
    const remedy = `use 0 < minPerSecond <= maxPerSecond <= ${BOUNDS.feedbackPerSecond}`
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
  let perSecond = startPerSecond
  let tokens = 1
  let filledMs = clock.now()
  let sinceMs = filledMs
  let done = 0
  let failed = 0
  let sumMs = 0
  let refused = 0

  /** Set when it is next asked or told: it needs no timer. */
  const settle = (nowMs: number): void => {
    const elapsedMs = nowMs - sinceMs
    if (elapsedMs < everyMs) return
    const seen = done + failed
    if (seen > 0) {
      const next = law({
        perSecond,
        donePerSecond: (done * 1000) / elapsedMs,
        meanMs: sumMs / seen,
        failed: failed / seen,
        isPressed: refused > 0,
      })
      if (next !== undefined && next > 0) perSecond = Math.min(maxPerSecond, Math.max(minPerSecond, next))
    }
    sinceMs = nowMs
    done = failed = sumMs = refused = 0
  }
  const refill = (nowMs: number): void => {
    const most = Math.max(1, perSecond * BURST_SECONDS)
    tokens = Math.min(most, tokens + (Math.max(0, nowMs - filledMs) * perSecond) / 1000)
    filledMs = Math.max(filledMs, nowMs)
  }
  const admit: Middleware = (_message, next) => {
    const nowMs = clock.now()
    settle(nowMs)
    refill(nowMs)
    if (tokens >= 1) {
      tokens--
      return next()
    }
    refused++
    const retryAfterMs = Math.max(1, Math.ceil(((1 - tokens) * 1000) / perSecond))
    const decision: Decision = {
      allowed: false,
      outcome: exceeded,
      reason: 'rate_limit_exceeded',
      retryAfterMs,
    }
    return decision
  }
  return {
    observe(latencyMs, ok) {
      if (ok) done++
      else failed++
      sumMs += latencyMs >= 0 ? latencyMs : 0
      settle(clock.now())
    },
    get perSecond() {
      return perSecond
    },
    admit,
  }
}
