import type { NatsMessage } from './client.ts'

/**
 * Where both generations of the client keep the bytes of a message and its subject's text; a JetStream message wraps one.
 * None of it is public: a client that keeps them elsewhere is left as it is.
 */
export interface Inside {
  readonly msg?: Inside
  _rdata?: unknown
  readonly _msg?: { subject?: unknown; reply?: unknown; readonly hdr?: unknown }
  /** The connection, as what is sent on it is written: sent with the next microtask while it is connected. */
  readonly publisher?: {
    readonly connected?: unknown
    outMsgs?: unknown
    outBytes?: unknown
    sendCommand?(...parts: Uint8Array[]): void
  }
  /** The text, once somebody has asked for it. */
  _subject?: unknown
}

/** The client's own message, of core NATS. */
export function insideOf(message: NatsMessage): Inside {
  const given = message as unknown as Inside
  return given.msg ?? given
}

/** Returns the undecoded headers of a message; undefined if it has none or the client keeps them elsewhere. Never throws. */
export function headerBlockOf(message: NatsMessage): Uint8Array | undefined {
  try {
    const { _rdata: bytes, _msg: head } = insideOf(message)
    const length = head?.hdr
    return bytes instanceof Uint8Array && typeof length === 'number' && length > 0
      ? bytes.subarray(0, length)
      : undefined
  } catch {
    return undefined
  }
}
