import { SENDER_PARTS, type SenderPart } from '../chain/senders/sender-selector.ts'
import type { Sender } from '../core/message.ts'

/** Name of a sender in the admin API: `client:d7`, `ip:10.0.0.1`. */
export interface SenderName {
  readonly part: SenderPart
  readonly value: string
}

/** Parses `client:d7`. The value may contain colons. Returns undefined if the part is unknown or the value empty. */
export function parseSenderId(id: string): SenderName | undefined {
  const colon = id.indexOf(':')
  const part = SENDER_PARTS.find(each => each === id.slice(0, colon))
  const value = id.slice(colon + 1)
  return part === undefined || value === '' ? undefined : { part, value }
}

/** Returns the id of a sender by its first identifying part; `anonymous` if it has none. */
export function senderId(sender: Sender): string {
  const part = SENDER_PARTS.find(
    each => each !== 'apiKey' && typeof sender[each] === 'string' && sender[each] !== '',
  )
  return part === undefined ? 'anonymous' : `${part}:${sender[part]}`
}
