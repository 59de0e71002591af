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

const NOT_PARSED: unique symbol = Symbol('not parsed')

/**
 * One message of aedes as the gate sees it. Made for every PUBLISH, so it is one small object: what the packet knows
 * is read there. (`declare`, as fields that are defined first and assigned then cost twice.)
 */
export class AedesMessage implements Message {
  declare readonly topic: string
  declare readonly on: Action
  declare readonly sender: Sender
  declare readonly size: number
  declare readonly packet: PacketLike
  declare private parsed: unknown

  constructor(on: Action, sender: Sender, packet: PacketLike) {
    const { payload } = packet
    this.topic = packet.topic
    this.on = on
    this.sender = sender
    this.size = typeof payload === 'object' ? payload.length : Buffer.byteLength(payload ?? '')
    this.packet = packet
    this.parsed = NOT_PARSED
  }

  get qos(): 0 | 1 | 2 {
    const { qos } = this.packet
    return qos === 1 || qos === 2 ? qos : 0
  }

  get retain(): boolean {
    return this.packet.retain === true
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }

  /** The payload as JSON, parsed once; undefined where it is none or larger than the bound. Never throws. */
  payload(): unknown {
    if (this.parsed === NOT_PARSED) this.parsed = parse(this.packet, this.size)
    return this.parsed
  }
}

function parse({ payload }: PacketLike, sizeBytes: number): unknown {
  if (payload === undefined || sizeBytes === 0 || sizeBytes > BOUNDS.parsedPayloadBytes) return undefined
  try {
    return JSON.parse(payload.toString())
  } catch {
    return undefined
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
  declare readonly callback: (error?: Error | null) => void
  declare readonly will: boolean
  /** Absent of a will whose client is not there. */
  declare readonly source: Source | undefined

  constructor(
    sender: Sender,
    packet: PacketLike,
    callback: (error?: Error | null) => void,
    will: boolean,
    source: Source | undefined,
  ) {
    super('publish', sender, packet)
    this.callback = callback
    this.will = will
    this.source = source
  }
}
