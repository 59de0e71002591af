import type { FieldPath } from '../core/field-path.ts'
import type { Message, MessageHeaders, Operation, Sender } from '../core/message.ts'
import { PayloadReader } from '../core/parse-payload.ts'

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
  #reader: PayloadReader | undefined

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
    this.#reader ??= new PayloadReader()
    return this.#reader.parse(this.body, this.size)
  }

  /** Returns a field of the payload without parsing the rest; undefined if it is absent. Never throws. */
  payloadField(path: FieldPath): unknown {
    this.#reader ??= new PayloadReader()
    return this.#reader.readField(this.body, this.size, path)
  }

  bytes(): Uint8Array {
    return typeof this.body === 'string' ? Buffer.from(this.body) : this.body
  }
}
