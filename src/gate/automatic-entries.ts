import type { SubjectKey } from '../chain/senders/sender-selector.ts'
import { policyError } from '../core/errors.ts'
import type { EntryType } from './runtime-list.ts'

/** An abusive sender found by one node, and applied by all. */
export interface AbusiveSender {
  readonly whom: SubjectKey
}

/** A circuit breaker opened by one node for a key, and applied by all. */
export interface OpenBreaker {
  readonly breaker: string
  readonly key: string
}

/** Returns the entry type of abusive senders. `hold` applies an entry, `forgive` reverts it. */
export function behaviourEntryType(
  hold: (whom: SubjectKey, untilMs: number) => void,
  forgive: (whom: SubjectKey) => void,
): EntryType<AbusiveSender> {
  return {
    kind: 'behaviour',
    parse: ({ whom: { part, text } }) => ({ id: `${part}:${text}`, given: { whom: { part, text } } }),
    apply({ whom }, { expiresAtMs }) {
      if (typeof whom?.part !== 'string' || typeof whom.text !== 'string' || expiresAtMs === undefined)
        throw policyError('whom', 'nobody is named, or for ever', 'name a part of a sender and an end')
      hold(whom, expiresAtMs)
      return () => forgive(whom)
    },
  }
}

/** Returns the entry type of open breakers. */
export function breakerEntryType(
  opened: (breaker: string, key: string, untilMs: number) => void,
): EntryType<OpenBreaker> {
  return {
    kind: 'breaker',
    parse: ({ breaker, key }) => ({ id: `${breaker} ${key}`, given: { breaker, key } }),
    apply({ breaker, key }, { expiresAtMs }) {
      if (typeof breaker !== 'string' || typeof key !== 'string' || expiresAtMs === undefined)
        throw policyError('key', 'no breaker is named, or for ever', 'name a breaker, a key and an end')
      opened(breaker, key, expiresAtMs)
      // A breaker closes by itself.
      return () => {}
    },
  }
}
