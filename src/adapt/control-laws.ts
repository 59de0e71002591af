import { policyError } from '../core/errors.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'
import { createFeedback, type Feedback, type FeedbackOptions } from './rate-controller.ts'

export interface AimdOptions extends FeedbackOptions {
  /** Increase of the rate per second after each interval without failures. Default: a fiftieth of the maximum. */
  readonly step?: number | undefined
  /** Factor on the rate when the handler cannot keep up. Default: 0.9. */
  readonly backoff?: number | undefined
}

const OPTIONS: OptionNames<AimdOptions> = {
  name: true,
  minPerSecond: true,
  maxPerSecond: true,
  startPerSecond: true,
  latencyMs: true,
  everyMs: true,
  exceeded: true,
  clock: true,
  step: true,
  backoff: true,
}

/** Share of failures above which the handler cannot keep up. */
const FAILURES = 0.1

/**
 * Additive increase, multiplicative decrease (Chiu and Jain, 1989) of a rate, by the handler's latency and
 * failures: `const feedback = aimd({ maxPerSecond: 1000 })`, `gate.use(feedback.admit)`, and after each
 * message `feedback.observe(latencyMs, ok)`. When the handler falls behind, the rate falls below its
 * throughput, so that the backlog shrinks. Throws PolicyError.
 */
export function aimd(options: AimdOptions = {}): Feedback {
  checkOptionNames(options, OPTIONS)
  const { step = (options.maxPerSecond ?? 10_000) / 50, backoff = 0.9, latencyMs = 100 } = options
  if (!(step > 0)) throw policyError('step', `${step} is not a step`, 'use a number above 0')
  if (!(backoff > 0 && backoff < 1))
    throw policyError('backoff', `${backoff} is not a factor between 0 and 1`, 'use 0.9')
  if (!(latencyMs > 0))
    throw policyError('latencyMs', `${latencyMs} is not a latency`, 'use milliseconds above 0')
  return createFeedback('aimd', options, ({ perSecond, donePerSecond, meanMs, failed, isPressed }) => {
    if (failed > FAILURES || meanMs > latencyMs)
      return backoff * Math.min(perSecond, donePerSecond || perSecond)
    // A rate that is not used up proves nothing.
    return isPressed ? perSecond + step : undefined
  })
}
