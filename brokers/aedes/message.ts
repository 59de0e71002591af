import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Action, Message, Sender } from '../../src/core/message.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'

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

  bytes(): Uint8Array {
    return bytesOf(this.packet)
  }
}

function parse({ payload }: PacketLike, sizeBytes: number): unknown {
  if (payload === undefined || sizeBytes === 0 || sizeBytes > MAX_SIZES.parsedPayloadBytes) return undefined
  try {
    return JSON.parse(payload.toString())
  } catch {
    return undefined
  }
}

/** The payload of a packet as bytes. */
function bytesOf({ payload }: PacketLike): Uint8Array {
  return typeof payload === 'object' ? payload : Buffer.from(payload ?? '')
}

/** A PUBLISH of QoS 0 that is still bytes of a chunk: the payload is cut out only where something asks for it. */
export class RawMessage implements Message {
  declare readonly topic: string
  declare readonly sender: Sender
  declare readonly size: number
  declare readonly retain: boolean
  declare private readonly chunk: Buffer
  declare private readonly start: number
  declare private parsed: unknown

  constructor(sender: Sender, topic: string, chunk: Buffer, start: number, end: number, retain: number) {
    this.topic = topic
    this.sender = sender
    this.size = end - start
    this.retain = retain === 1
    this.chunk = chunk
    this.start = start
    this.parsed = NOT_PARSED
  }

  get on(): Action {
    return 'publish'
  }

  get qos(): 0 {
    return 0
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }

  payload(): unknown {
    if (this.parsed === NOT_PARSED) {
      const payload = this.bytes()
      this.parsed = parse({ topic: this.topic, payload }, this.size)
    }
    return this.parsed
  }

  bytes(): Buffer {
    return this.chunk.subarray(this.start, this.start + this.size)
  }
}

/** Whoever answers for the messages of one connection. */
export interface Source {
  readonly disconnecting: boolean
  /** A policy has disconnected the client. */
  readonly isCutOff: boolean
  /** Notes a refusal; true when the client is to be disconnected for it. */
  refused(message: Message, decision: Decision): boolean
  disconnect(error: Error, callback?: (error: Error) => void): void
  /** A message waits in its rule's queue now. */
  queued(): void
  /** A QoS 0 publish was dropped as it came: more of its topic may be dropped before they are parsed. */
  expectMore(topic: string): void
  readonly senderQueue: SenderQueue
  /** Counts a QoS 2 message to be acknowledged before a disconnect; call the result after the acknowledgement. */
  expectAcknowledgement(): () => void
}

/** A PUBLISH or a will on its way, with all its enactment needs. */
export class PublishMessage extends AedesMessage {
  declare readonly callback: (error?: Error | null) => void
  declare readonly will: boolean
  /** Absent of a will whose client is not there. */
  declare readonly source: Source | undefined
  /** The topic is that of the bytes: no hook of the application's has changed it. */
  declare readonly asSent: boolean
  /** Waits in its rule's queue; or has been enacted. */
  declare stage: 'new' | 'parked' | 'enacted'
  /** Removes a message that aedes has stored already; absent for others. Held, it outlives its connection. */
  declare withdraw: (() => void) | undefined

  constructor(
    sender: Sender,
    packet: PacketLike,
    callback: (error?: Error | null) => void,
    will: boolean,
    source: Source | undefined,
    asSent: boolean,
  ) {
    super('publish', sender, packet)
    this.callback = callback
    this.will = will
    this.source = source
    this.asSent = asSent
    this.stage = 'new'
    this.withdraw = undefined
  }

  /** It is its rule's now, for a while: what it pins of the bytes it came in is let go, and its client is read on. */
  park(): void {
    if (this.stage !== 'new') return
    this.stage = 'parked'
    ownPayload(this.packet)
    this.source?.queued()
  }

  /** It waits no longer: what was decided is being done. */
  settle(): void {
    this.stage = 'enacted'
  }
}

/** aedes cuts payloads out of the chunk they came in, which a small one that is held for long would pin as a whole. */
function ownPayload(packet: PacketLike): void {
  const { payload } = packet
  if (!(payload instanceof Buffer) || payload.buffer.byteLength < 2 * payload.length) return
  // Not of Buffer's pool, which would be pinned as well.
  const owned = Buffer.allocUnsafeSlow(payload.length)
  payload.copy(owned)
  packet.payload = owned
}
