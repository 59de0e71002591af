import type { Whom } from '../chain/senders/sender-selector.ts'
import { policyError } from '../core/errors.ts'
import type { EntryType } from './runtime-list.ts'

/** Somebody whose behaviour is abusive, as one node has found and all go by. */
export interface Blamed {
  readonly whom: Whom
}

/** A breaker that is open for a key, as one node has found and all go by. */
export interface Opened {
  readonly breaker: string
  readonly key: string
}

/** How abusive senders are told of: `hold` and `forgive` put it into effect. */
export function behaviourEntryType(
  hold: (whom: Whom, untilMs: number) => void,
  forgive: (whom: Whom) => void,
): EntryType<Blamed> {
  return {
    kind: 'behaviour',
    read: ({ whom: { part, text } }) => ({ id: `${part}:${text}`, given: { whom: { part, text } } }),
    enter({ whom }, { expiresAtMs }) {
      if (typeof whom?.part !== 'string' || typeof whom.text !== 'string' || expiresAtMs === undefined)
        throw policyError('whom', 'nobody is named, or for ever', 'name a part of a sender and an end')
      hold(whom, expiresAtMs)
      return () => forgive(whom)
    },
  }
}

/** How open breakers are told of. */
export function breakerEntryType(
  opened: (breaker: string, key: string, untilMs: number) => void,
): EntryType<Opened> {
  return {
    kind: 'breaker',
    read: ({ breaker, key }) => ({ id: `${breaker} ${key}`, given: { breaker, key } }),
    enter({ breaker, key }, { expiresAtMs }) {
      if (typeof breaker !== 'string' || typeof key !== 'string' || expiresAtMs === undefined)
        throw policyError('key', 'no breaker is named, or for ever', 'name a breaker, a key and an end')
      opened(breaker, key, expiresAtMs)
      // It tries again by itself.
      return () => {}
    },
  }
}
