import type { NatsMessage } from './client.ts'
import { insideOf } from './inside.ts'

/**
 * Gives a message bytes of its own, equal to those it had: they are views of a socket chunk, of which a single one
 * kept in a queue pins all 64 KB. Never throws.
 */
export function ownBytes(message: NatsMessage): void {
  try {
    const inside = insideOf(message)
    if (isView(inside._rdata)) inside._rdata = copyOf(inside._rdata)
    const head = inside._msg
    if (head === undefined) return
    if (isView(head.subject)) head.subject = copyOf(head.subject)
    if (isView(head.reply)) head.reply = copyOf(head.reply)
  } catch {
    // A frozen message stays a view.
  }
}

function isView(bytes: unknown): bytes is Uint8Array {
  return bytes instanceof Uint8Array && bytes.byteLength < bytes.buffer.byteLength
}

/** A Buffer's own `slice` would be a view again. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes)
}
