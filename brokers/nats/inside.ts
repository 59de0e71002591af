import type { NatsMessage } from './client.ts'

/**
 * Where both generations of the client keep the bytes of a message and its subject's text; a JetStream message wraps one.
 * None of it is public: a client that keeps them elsewhere is left as it is.
 */
export interface Inside {
  readonly msg?: Inside
  _rdata?: unknown
  readonly _msg?: { subject?: unknown; reply?: unknown }
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
