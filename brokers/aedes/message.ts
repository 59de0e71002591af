import { BOUNDS } from '../../src/bounds.ts'
import type { Decision } from '../../src/decision.ts'
import type { Action, Message, Sender } from '../../src/message.ts'

/** What a message is made of: a PUBLISH, a will or a delivery. */
export interface PacketLike {
  topic: string
  payload?: string | Buffer | undefined
  qos?: number | undefined
  retain?: boolean | undefined
}

const NO_PAYLOAD = ''
const NOT_PARSED: unique symbol = Symbol('not parsed')

/** One message of aedes as the gate sees it. Getters and methods stand on the prototype: making one is one object. */
export class AedesMessage implements Message {
  readonly topic: string
  readonly on: Action
  readonly sender: Sender
  readonly size: number
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly #payload: string | Buffer
  #parsed: unknown = NOT_PARSED

  constructor(on: Action, sender: Sender, packet: PacketLike) {
    const payload = packet.payload ?? NO_PAYLOAD
    this.on = on
    this.sender = sender
    this.topic = packet.topic
    this.size = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
    this.qos = packet.qos === 1 || packet.qos === 2 ? packet.qos : 0
    this.retain = packet.retain === true
    this.#payload = payload
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }

  /** The payload as JSON, parsed once; undefined where it is none or larger than the bound. Never throws. */
  payload(): unknown {
    if (this.#parsed === NOT_PARSED) this.#parsed = this.#parse()
    return this.#parsed
  }

  #parse(): unknown {
    if (this.size === 0 || this.size > BOUNDS.parsedPayloadBytes) return undefined
    try {
      return JSON.parse(this.#payload.toString())
    } catch {
      return undefined
    }
  }
}

/** Whoever answers for the messages of one connection. */
export interface Source {
  readonly condemned: boolean
  /** Notes a refusal; true when the client is to be disconnected for it. */
  refused(message: Message, decision: Decision): boolean
  condemn(error: Error, callback?: (error: Error) => void): void
}

/** A PUBLISH or a will on its way, with all its enactment needs. */
export class PublishMessage extends AedesMessage {
  readonly packet: object
  readonly callback: (error?: Error | null) => void
  readonly will: boolean
  /** Absent of a will whose client is not there. */
  readonly source: Source | undefined

  constructor(
    sender: Sender,
    packet: PacketLike,
    callback: (error?: Error | null) => void,
    will: boolean,
    source: Source | undefined,
  ) {
    super('publish', sender, packet)
    this.packet = packet
    this.callback = callback
    this.will = will
    this.source = source
  }
}
