import type { BehaviourTracker } from '../chain/senders/behaviour-tracker.ts'
import type { SenderIdentifier } from '../chain/senders/sender-selector.ts'
import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import type { HandlerMonitor } from './handler-monitor.ts'
import type { RuntimeEntryType } from './runtime-list.ts'

/** An abusive sender found by one node, and applied by all. */
export interface AbusiveSenderEntry {
  readonly whom: SenderIdentifier
}

/** A circuit breaker opened by one node for a key, and applied by all. */
export interface OpenBreaker {
  readonly breaker: string
  readonly key: string
}

/** Returns the entry type of abusive senders. */
export function behaviourEntryType(
  tracker: BehaviourTracker,
  clock: Clock,
): RuntimeEntryType<AbusiveSenderEntry> {
  return {
    kind: 'behaviour',
    parse: ({ whom: { part, text } }) => ({ id: `${part}:${text}`, given: { whom: { part, text } } }),
    apply({ whom }, { expiresAtMs }) {
      if (typeof whom?.part !== 'string' || typeof whom.text !== 'string' || expiresAtMs === undefined)
        throw policyError('whom', 'the sender or its end is missing', 'give a part of a sender and an end')
      tracker.setAbusive(whom, expiresAtMs)
      return () => tracker.clearAbusive(whom, clock.now())
    },
  }
}

/** Returns the entry type of open breakers. */
export function breakerEntryType(handlerMonitor: HandlerMonitor): RuntimeEntryType<OpenBreaker> {
  return {
    kind: 'breaker',
    parse: ({ breaker, key }) => ({ id: `${breaker} ${key}`, given: { breaker, key } }),
    apply({ breaker, key }, { expiresAtMs }) {
      if (typeof breaker !== 'string' || typeof key !== 'string' || expiresAtMs === undefined)
        throw policyError(
          'key',
          'the breaker, its key or its end is missing',
          'give a breaker, a key and an end',
        )
      handlerMonitor.applyOpened(breaker, key, expiresAtMs)
      // A breaker closes by itself.
      return () => {}
    },
  }
}
