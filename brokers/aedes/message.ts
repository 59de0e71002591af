import { copyPayload } from '../../src/broker-support/copy-payload.ts'
import type { Decision } from '../../src/core/decision.ts'
import type { FieldPath } from '../../src/core/field-path.ts'
import type { Message, Operation, Sender } from '../../src/core/message.ts'
import { PayloadReader } from '../../src/core/parse-payload.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'

/** Fields of a PUBLISH, a will or a delivery. */
export interface PacketLike {
  topic: string
  payload?: string | Buffer | undefined
  qos?: number | undefined
  retain?: boolean | undefined
  dup?: boolean | undefined
  readonly messageId?: number | undefined
}

/**
 * An aedes message for the gate. A single small object is created for every PUBLISH; most fields are read from the packet.
 * Why `declare`: fields that are defined and then assigned cost twice as much.
 */
export class AedesMessage implements Message {
  declare readonly topic: string
  declare readonly on: Operation
  declare readonly sender: Sender
  declare readonly size: number
  declare readonly packet: PacketLike
  declare private reader: PayloadReader | undefined

  constructor(on: Operation, sender: Sender, packet: PacketLike) {
    const { payload } = packet
    this.topic = packet.topic
    this.on = on
    this.sender = sender
    this.size = typeof payload === 'object' ? payload.length : Buffer.byteLength(payload ?? '')
    this.packet = packet
    this.reader = undefined
  }

  get qos(): 0 | 1 | 2 {
    const { qos } = this.packet
    return qos === 1 || qos === 2 ? qos : 0
  }

  get retain(): boolean {
    return this.packet.retain === true
  }

  get duplicate(): boolean {
    return this.packet.dup === true
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }

  /** Returns the payload as JSON, parsed once; undefined if it is not JSON or exceeds the bound. Never throws. */
  payload(): unknown {
    this.reader ??= new PayloadReader()
    return this.reader.parse(this.packet.payload, this.size)
  }

  /** Returns a field of the payload without parsing the rest; undefined if it is absent. Never throws. */
  payloadField(path: FieldPath): unknown {
    this.reader ??= new PayloadReader()
    return this.reader.readField(this.packet.payload, this.size, path)
  }

  bytes(): Uint8Array {
    return bytesOf(this.packet)
  }
}

function bytesOf({ payload }: PacketLike): Uint8Array {
  return typeof payload === 'object' ? payload : Buffer.from(payload ?? '')
}

/** A QoS 0 PUBLISH that is still raw bytes of a chunk; its payload is extracted only on demand. */
export class RawPublishMessage implements Message {
  declare readonly topic: string
  declare readonly sender: Sender
  declare readonly size: number
  declare readonly retain: boolean
  declare private readonly chunk: Buffer
  declare private readonly start: number
  declare private reader: PayloadReader | undefined

  constructor(sender: Sender, topic: string, chunk: Buffer, start: number, end: number, retain: number) {
    this.topic = topic
    this.sender = sender
    this.size = end - start
    this.retain = retain === 1
    this.chunk = chunk
    this.start = start
    this.reader = undefined
  }

  get on(): Operation {
    return 'publish'
  }

  get qos(): 0 {
    return 0
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }

  payload(): unknown {
    this.reader ??= new PayloadReader()
    return this.reader.parse(this.bytes(), this.size)
  }

  payloadField(path: FieldPath): unknown {
    this.reader ??= new PayloadReader()
    return this.reader.readField(this.bytes(), this.size, path)
  }

  bytes(): Buffer {
    return this.chunk.subarray(this.start, this.start + this.size)
  }
}

/** Connection that sent a message. */
export interface PublishSource {
  readonly isDisconnecting: boolean
  readonly disconnectReason: 'policy' | 'shutdown' | undefined
  /** Records a refusal; returns true if the client is to be disconnected. */
  recordRefusal(message: Message, decision: Decision): boolean
  disconnect(error: Error, callback?: (error: Error) => void): void
  /** Called when a message waits in its rule's queue. */
  onQueued(): void
  /** Called when a QoS 0 publish was dropped on arrival: more of its topic may be dropped before they are parsed. */
  filterTopic(topic: string): void
  readonly senderQueue: SenderQueue
  /** Counts a QoS 2 message to be acknowledged before a disconnect. Call the result after the acknowledgement. */
  expectAcknowledgement(): () => void
  /** Reserves the place of the PUBACK of a message. Call the result when it has been stored. */
  expectPuback(messageId: number): (error?: Error | null) => void
}

/** A PUBLISH or a will in progress, with everything needed to enact its decision. */
export class IncomingPublish extends AedesMessage {
  declare readonly callback: (error?: Error | null) => void
  declare readonly will: boolean
  /** Undefined for a will whose client is not connected. */
  declare readonly source: PublishSource | undefined
  /** True if the topic is that of the received bytes: no application hook has changed it. */
  declare readonly isTopicUnchanged: boolean
  /** Progress: `queued` is in its rule's queue, `enacted` is done. */
  declare stage: 'new' | 'queued' | 'enacted'
  /** Removes a message that aedes has stored already; undefined for others. A held one outlives its connection. */
  declare removeStored: (() => void) | undefined

  constructor(
    sender: Sender,
    packet: PacketLike,
    callback: (error?: Error | null) => void,
    will: boolean,
    source: PublishSource | undefined,
    isTopicUnchanged: boolean,
  ) {
    super('publish', sender, packet)
    this.callback = callback
    this.will = will
    this.source = source
    this.isTopicUnchanged = isTopicUnchanged
    this.stage = 'new'
    this.removeStored = undefined
  }

  /** Called when its rule's queue takes the message: frees the chunk it came in and lets its client be read. */
  onQueued(): void {
    if (this.stage !== 'new') return
    this.stage = 'queued'
    copyPayload(this.packet)
    this.source?.onQueued()
  }

  /** Called when the decision is enacted. */
  markEnacted(): void {
    this.stage = 'enacted'
  }
}
