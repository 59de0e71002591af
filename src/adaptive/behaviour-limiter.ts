import type { Middleware } from '../chain/middleware-types.ts'
import { compileCost } from '../chain/rules/cost.ts'
import { limit } from '../chain/rules/create-limit-middleware.ts'
import type { LimitOptions } from '../chain/rules/rule-options.ts'
import { senderKeyOf } from '../chain/rules/tiers.ts'
import {
  BEHAVIOUR_FACTORS,
  type BehaviourCount,
  type BehaviourLevel,
  BehaviourTracker,
  behaviourLevelOf,
} from '../chain/senders/behaviour-tracker.ts'
import { scaleCostForReducedLimit } from '../chain/senders/scale-by-behaviour.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { hashLongPart } from '../core/hash-long-part.ts'
import type { Message, Sender } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { parseRate } from '../core/units.ts'

export { BEHAVIOUR_FACTORS, type BehaviourLevel } from '../chain/senders/behaviour-tracker.ts'

export interface BehaviourScalerOptions {
  /** Returns the key of a sender. Default: its user, else its API key, else its client. */
  readonly senderOf?: (sender: Sender) => string | undefined
  readonly clock?: Clock | undefined
}

const OPTIONS: KnownOptions<BehaviourScalerOptions> = { senderOf: true, clock: true }

/** Counts messages of senders and scales their limits. */
export interface BehaviourLimiter {
  /** Counts a decision: `gate.on('decision', behaviour.note)`. */
  readonly note: (decision: Decision, message: Message) => void
  /** Creates a limit with a factor for each sender: message costs are divided by it. Throws PolicyError. */
  limit(options: LimitOptions): Middleware
  behaviourLevelOf(sender: Sender): BehaviourLevel
  /** Number of counted senders. */
  readonly size: number
}

/**
 * Behaviour of senders for single limits, with a custom key. For all limits of a gate, shared by its nodes,
 * use the gate option `behaviour`, which counts the same way: see BehaviourTracker.
 */
export function behaviour(options: BehaviourScalerOptions = {}): BehaviourLimiter {
  checkOptionNames(options, OPTIONS)
  const { senderOf = senderKeyOf, clock = systemClock } = options
  const behaviourTracker = new BehaviourTracker()

  const countOf = (sender: Sender): BehaviourCount => {
    let text = ''
    try {
      text = hashLongPart(String(senderOf(sender) ?? ''))
    } catch {
      // Senders without a key share one count.
    }
    return behaviourTracker.countFor({ part: 'client', text })
  }
  return {
    note: (decision, { sender }) => behaviourTracker.record(countOf(sender), decision, clock.now()),
    limit(given) {
      const rate = parseRate(given.limit ?? given.rate ?? '')
      const meter = compileCost(given.cost ?? (rate.bytes ? 'bytes' : undefined), given.dialect)
      const most = given.burst ?? rate.burst ?? rate.count
      const { good, abusive } = BEHAVIOUR_FACTORS
      const costs = {
        good: scaleCostForReducedLimit(meter, good, most),
        usual: meter,
        abusive: scaleCostForReducedLimit(meter, abusive, most),
      }
      const cost = (message: Message): number =>
        costs[behaviourLevelOf(countOf(message.sender), clock.now())].unitsOf(message)
      return limit({ ...given, cost })
    },
    behaviourLevelOf: sender => behaviourLevelOf(countOf(sender), clock.now()),
    get size() {
      return behaviourTracker.size
    },
  }
}
