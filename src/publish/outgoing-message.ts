import type { Message, MessageHeaders, Operation, Sender } from '../core/message.ts'
import { parsePayload } from '../core/parse-payload.ts'

const NOT_PARSED: unique symbol = Symbol('not parsed')

/** Parts of a message to publish. */
export interface OutgoingParts {
  readonly protocol: 'mqtt' | 'nats'
  readonly topic: string
  readonly sender: Sender
  readonly body: string | Uint8Array
  readonly qos?: 0 | 1 | 2 | undefined
  readonly retain?: boolean | undefined
  readonly headers?: MessageHeaders | undefined
}

/** Message to publish, in the form that the gate reads. */
export class OutgoingMessage implements Message {
  readonly topic: string
  readonly sender: Sender
  readonly size: number
  readonly protocol: 'mqtt' | 'nats'
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly headers: MessageHeaders | undefined
  readonly body: string | Uint8Array
  #parsed: unknown = NOT_PARSED

  constructor({ protocol, topic, sender, body, qos = 0, retain = false, headers }: OutgoingParts) {
    this.topic = topic
    this.sender = sender
    this.size = typeof body === 'string' ? Buffer.byteLength(body) : body.length
    this.protocol = protocol
    this.qos = qos
    this.retain = retain
    this.headers = headers
    this.body = body
  }

  get on(): Operation {
    return 'publish'
  }

  /** Returns the body parsed as JSON, once. Returns undefined if it is not JSON or exceeds the bound. Never throws. */
  payload(): unknown {
    if (this.#parsed === NOT_PARSED) this.#parsed = parsePayload(this.body, this.size)
    return this.#parsed
  }

  bytes(): Uint8Array {
    return typeof this.body === 'string' ? Buffer.from(this.body) : this.body
  }
}
