import { policyError } from '../core/errors.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'
import { createFeedback, type Feedback, type FeedbackOptions } from './rate-controller.ts'

export interface GradientOptions extends FeedbackOptions {
  /** Share of the rate tried above the throughput, at most, in each interval. Default: 0.1. */
  readonly headroom?: number | undefined
}

const OPTIONS: OptionNames<GradientOptions> = {
  name: true,
  minPerSecond: true,
  maxPerSecond: true,
  startPerSecond: true,
  latencyMs: true,
  everyMs: true,
  exceeded: true,
  clock: true,
  headroom: true,
}

const FAILURES = 0.1
const STEEPEST = 0.5

/**
 * A rate that follows the ratio of wanted to measured latency: × (1 + headroom × (1 − latency ÷ wanted)), at
 * least half. When it falls, the throughput is multiplied instead. After the gradient limiter of Netflix's
 * concurrency-limits. Used like `aimd`. Throws PolicyError.
 */
export function gradient(options: GradientOptions = {}): Feedback {
  checkOptionNames(options, OPTIONS)
  const { headroom = 0.1, latencyMs = 100 } = options
  if (!(headroom > 0 && headroom <= 1)) throw policyError('headroom', `${headroom} is not a share`, 'use 0.1')
  if (!(latencyMs > 0))
    throw policyError('latencyMs', `${latencyMs} is not a latency`, 'use milliseconds above 0')
  return createFeedback('gradient', options, ({ perSecond, donePerSecond, meanMs, failed, isPressed }) => {
    const ratio = failed > FAILURES ? STEEPEST : Math.max(STEEPEST, 1 + headroom * (1 - meanMs / latencyMs))
    if (ratio < 1) return ratio * Math.min(perSecond, donePerSecond || perSecond)
    // A rate that is not used up proves nothing. A small one rises by a whole message.
    return isPressed ? ratio * perSecond + 1 : undefined
  })
}
