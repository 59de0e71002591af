import { policyError } from '../core/errors.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { createRateController, type FeedbackLimiter, type FeedbackLimiterOptions } from './rate-controller.ts'

export interface AimdOptions extends FeedbackLimiterOptions {
  /** Increase of the rate per second after each interval without failures. Default: a fiftieth of the maximum. */
  readonly step?: number | undefined
  /** Factor on the rate when the handler cannot keep up. Default: 0.9. */
  readonly backoff?: number | undefined
}

export interface GradientOptions extends FeedbackLimiterOptions {
  /** Share of the rate tried above the throughput, at most, in each interval. Default: 0.1. */
  readonly headroom?: number | undefined
}

const FEEDBACK_OPTIONS: KnownOptions<FeedbackLimiterOptions> = {
  name: true,
  minPerSecond: true,
  maxPerSecond: true,
  startPerSecond: true,
  latencyMs: true,
  everyMs: true,
  exceeded: true,
  clock: true,
}
const AIMD_OPTIONS: KnownOptions<AimdOptions> = { ...FEEDBACK_OPTIONS, step: true, backoff: true }
const GRADIENT_OPTIONS: KnownOptions<GradientOptions> = { ...FEEDBACK_OPTIONS, headroom: true }

/** Share of failures above which the handler cannot keep up. */
const MAX_FAILED = 0.1
/** Smallest factor of one interval. */
const MIN_RATIO = 0.5

/**
 * Additive increase, multiplicative decrease (Chiu and Jain, 1989) of a rate, by the handler's latency and
 * failures: `const feedback = aimd({ maxPerSecond: 1000 })`, `gate.use(feedback.admit)`, and after each
 * message `feedback.observe(latencyMs, ok)`. When the handler falls behind, the rate falls below its
 * throughput, so that the backlog shrinks. Throws PolicyError.
 */
export function aimd(options: AimdOptions = {}): FeedbackLimiter {
  checkOptionNames(options, AIMD_OPTIONS)
  const { step = (options.maxPerSecond ?? 10_000) / 50, backoff = 0.9, latencyMs = 100 } = options
  if (!(step > 0)) throw policyError('step', `${step} is not a step`, 'use a number above 0')
  if (!(backoff > 0 && backoff < 1))
    throw policyError('backoff', `${backoff} is not a factor between 0 and 1`, 'use 0.9')
  checkLatency(latencyMs)
  return createRateController('aimd', options, ({ perSecond, donePerSecond, meanMs, failed, isPressed }) => {
    if (failed > MAX_FAILED || meanMs > latencyMs)
      return backoff * Math.min(perSecond, donePerSecond || perSecond)
    // A rate that is not used up proves nothing.
    return isPressed ? perSecond + step : undefined
  })
}

/**
 * A rate that follows the ratio of `latencyMs` to the measured latency: × (1 + headroom × (1 − measured ÷
 * latencyMs)), at least half. When it falls, the throughput is multiplied instead. After the gradient limiter
 * of Netflix's concurrency-limits. Used like `aimd`. Throws PolicyError.
 */
export function gradient(options: GradientOptions = {}): FeedbackLimiter {
  checkOptionNames(options, GRADIENT_OPTIONS)
  const { headroom = 0.1, latencyMs = 100 } = options
  if (!(headroom > 0 && headroom <= 1)) throw policyError('headroom', `${headroom} is not a share`, 'use 0.1')
  checkLatency(latencyMs)
  return createRateController(
    'gradient',
    options,
    ({ perSecond, donePerSecond, meanMs, failed, isPressed }) => {
      const ratio =
        failed > MAX_FAILED ? MIN_RATIO : Math.max(MIN_RATIO, 1 + headroom * (1 - meanMs / latencyMs))
      if (ratio < 1) return ratio * Math.min(perSecond, donePerSecond || perSecond)
      // A rate that is not used up proves nothing. A small one rises by a whole message.
      return isPressed ? ratio * perSecond + 1 : undefined
    },
  )
}

function checkLatency(latencyMs: number): void {
  if (!(latencyMs > 0))
    throw policyError('latencyMs', `${latencyMs} is not a latency`, 'use milliseconds above 0')
}
