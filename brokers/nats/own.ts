import type { NatsMessage } from './client.ts'

/** Where both generations of the client keep the bytes of a message; a JetStream message wraps one. */
interface Inside {
  readonly msg?: Inside
  _rdata?: unknown
  readonly _msg?: { subject?: unknown; reply?: unknown }
}

/**
 * Gives a message bytes of its own, equal to those it had: they are views of a socket chunk, of which a single one
 * kept in a queue pins all 64 KB. A client that keeps them elsewhere is left as it is. Never throws.
 */
export function ownBytes(message: NatsMessage): void {
  try {
    const given = message as unknown as Inside
    const inside = given.msg ?? given
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
function copyOf(bytes: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes)
}
