import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Action, Dialect, Headers, Message, Sender } from '../core/message.ts'

/** What a capture, or a command line, tells of a message. */
export interface MessageParts {
  readonly topic: string
  readonly on?: Action | undefined
  readonly sender: Sender
  /** Payload bytes; default: those of `payload`. */
  readonly size?: number | undefined
  readonly qos?: 0 | 1 | 2 | undefined
  readonly retain?: boolean | undefined
  readonly will?: boolean | undefined
  readonly headers?: Headers | undefined
  /** JSON; of a text, the bytes as they were sent. Undefined for none. */
  readonly payload?: unknown
}

/** A message made of what was written down. Its payload is what a broker would have read. */
export class CapturedMessage implements Message {
  readonly topic: string
  readonly on: Action
  readonly sender: Sender
  readonly size: number
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly will: boolean
  readonly protocol: Dialect
  readonly headers?: Headers
  readonly #payload: unknown

  constructor(parts: MessageParts, protocol: Dialect) {
    this.topic = parts.topic
    this.on = parts.on ?? 'publish'
    this.sender = parts.sender
    this.size = parts.size ?? measure(parts.payload)
    this.qos = parts.qos ?? 0
    this.retain = parts.retain ?? false
    this.will = parts.will ?? false
    this.protocol = protocol
    if (parts.headers !== undefined) this.headers = parts.headers
    this.#payload = parts.payload
  }

  bytes(): Uint8Array | undefined {
    return this.#payload === undefined ? undefined : encode(this.#payload)
  }

  payload(): unknown {
    if (this.size > MAX_SIZES.parsedPayloadBytes) return undefined
    if (typeof this.#payload !== 'string') return this.#payload
    try {
      return JSON.parse(this.#payload)
    } catch {
      return undefined
    }
  }
}

/** The bytes of a payload on the line: of a text its UTF-8, of anything else that of its JSON. */
function encode(payload: unknown): Uint8Array {
  return Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload))
}

/** Bytes of a payload on the line: of a text its UTF-8, of anything else that of its JSON. */
function measure(payload: unknown): number {
  if (payload === undefined) return 0
  return Buffer.byteLength(typeof payload === 'string' ? payload : JSON.stringify(payload))
}
