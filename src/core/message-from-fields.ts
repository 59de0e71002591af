import { MAX_SIZES } from './max-sizes.ts'
import type { Dialect, Message, MessageHeaders, Operation, Sender } from './message.ts'
import { parsePayload } from './parse-payload.ts'

/** Fields of a message from a capture or the command line. */
export interface CapturedMessageFields {
  readonly topic: string
  readonly on?: Operation | undefined
  readonly sender: Sender
  /** Payload bytes; default: those of `payload`. */
  readonly size?: number | undefined
  readonly qos?: 0 | 1 | 2 | undefined
  readonly retain?: boolean | undefined
  readonly will?: boolean | undefined
  readonly headers?: MessageHeaders | undefined
  /** JSON value; a text is the payload as sent. Undefined for none. */
  readonly payload?: unknown
}

/** A message created from recorded fields. Its payload is read as a broker would read it. */
export class CapturedMessage implements Message {
  readonly topic: string
  readonly on: Operation
  readonly sender: Sender
  readonly size: number
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly will: boolean
  readonly protocol: Dialect
  readonly headers?: MessageHeaders | undefined
  readonly #payload: unknown

  constructor(parts: CapturedMessageFields, protocol: Dialect) {
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

  /** Returns a copy with another number of payload bytes. */
  withSize(size: number): CapturedMessage {
    const { topic, on, sender, qos, retain, will, headers, protocol } = this
    const payload = this.#payload
    return new CapturedMessage({ topic, on, sender, size, qos, retain, will, headers, payload }, protocol)
  }

  bytes(): Uint8Array | undefined {
    return this.#payload === undefined ? undefined : encode(this.#payload)
  }

  payload(): unknown {
    if (typeof this.#payload === 'string') return parsePayload(this.#payload, this.size)
    return this.size > MAX_SIZES.parsedPayloadBytes ? undefined : this.#payload
  }
}

/** Returns the payload as sent: a text as UTF-8, any other value as JSON. */
function encode(payload: unknown): Uint8Array {
  return Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload))
}

/** Returns the payload bytes as sent: of a text its UTF-8, of any other value its JSON. */
function measure(payload: unknown): number {
  if (payload === undefined) return 0
  return Buffer.byteLength(typeof payload === 'string' ? payload : JSON.stringify(payload))
}
