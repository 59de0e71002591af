import type { FieldPath } from '../../src/core/field-path.ts'
import type { Message, MessageHeaders, Operation, Sender } from '../../src/core/message.ts'
import { PayloadReader } from '../../src/core/parse-payload.ts'
import { PROPERTY, type Qos } from './packet-types.ts'
import {
  findProperty,
  type PropertyList,
  readNumber,
  readProperties,
  readUserProperties,
} from './properties.ts'
import { encodePublish } from './write-packets.ts'

const DUPLICATE = 0x08
const RETAIN = 0x01

/** Places in a PUBLISH. One object per direction of a connection, filled anew for each packet. */
export class PublishLayout {
  topicStart = 0
  topicEnd = 0
  /** 0 at QoS 0. */
  id = 0
  qos: Qos = 0
  /** Start of the property list, before MQTT 5 that of the payload. */
  propertiesStart = 0
  payloadStart = 0

  /**
   * Reads the PUBLISH whose body begins at `body`. Returns `true`, or `false` if it is malformed, or the number of
   * bytes after `start` that it needs.
   */
  read(bytes: Buffer, start: number, body: number, end: number, isV5: boolean): boolean | number {
    const { length } = bytes
    const first = bytes[start]!
    const qos = (first >> 1) & 3
    if (qos === 3 || body + 2 > end) return false
    if (body + 2 > length) return body + 2 - start
    const topicStart = body + 2
    const topicEnd = topicStart + ((bytes[body]! << 8) | bytes[body + 1]!)
    let at = topicEnd + (qos === 0 ? 0 : 2)
    if (at > end) return false
    if (at > length) return at - start
    this.topicStart = topicStart
    this.topicEnd = topicEnd
    this.qos = qos as Qos
    this.id = qos === 0 ? 0 : (bytes[topicEnd]! << 8) | bytes[topicEnd + 1]!
    this.propertiesStart = at
    if (isV5) {
      let propertiesBytes = 0
      let byte = 0x80
      for (let shift = 0; byte >= 0x80; shift += 7) {
        if (shift > 21 || at >= end) return false
        if (at >= length) return at + 1 - start
        byte = bytes[at++]!
        propertiesBytes += (byte & 0x7f) << shift
      }
      at += propertiesBytes
      if (at > end) return false
      if (at > length) return at - start
    }
    this.payloadStart = at
    return true
  }

  get hasProperties(): boolean {
    return this.payloadStart > this.propertiesStart + 1
  }

  /** Returns the topic alias of the PUBLISH; undefined if it has none. */
  readTopicAlias(bytes: Buffer): number | undefined {
    const list = readProperties(bytes, this.propertiesStart, this.payloadStart)
    return readNumber(bytes, findProperty(list, PROPERTY.topicAlias))
  }
}

/** A PUBLISH in its bytes, as a message for the gate. The bytes are a part of the received chunk until it is held. */
export class PublishPacket implements Message {
  declare readonly topic: string
  declare readonly on: Operation
  declare readonly sender: Sender
  declare readonly size: number
  /** Packet id; 0 at QoS 0. */
  declare readonly id: number
  declare readonly qos: Qos
  declare private readonly first: number
  declare private readonly isV5: boolean
  declare private bytesOfPacket: Buffer
  declare private start: number
  declare private propertiesStart: number
  declare private payloadStart: number
  declare private reader: PayloadReader | undefined
  declare private list: PropertyList | undefined
  /** True once its decision was enacted. */
  declare isEnacted: boolean

  constructor(
    on: Operation,
    sender: Sender,
    topic: string,
    bytes: Buffer,
    start: number,
    end: number,
    layout: PublishLayout,
    isV5: boolean,
  ) {
    this.topic = topic
    this.on = on
    this.sender = sender
    this.size = end - layout.payloadStart
    this.id = layout.id
    this.qos = layout.qos
    this.first = bytes[start]!
    this.isV5 = isV5
    this.bytesOfPacket = bytes
    this.start = start
    this.propertiesStart = layout.propertiesStart
    this.payloadStart = layout.payloadStart
    this.reader = undefined
    this.list = undefined
    this.isEnacted = false
  }

  get retain(): boolean {
    return (this.first & RETAIN) !== 0
  }

  get duplicate(): boolean {
    return (this.first & DUPLICATE) !== 0
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }

  /** User properties of MQTT 5. */
  get headers(): MessageHeaders | undefined {
    return readUserProperties(this.bytesOfPacket, this.properties)
  }

  /** Undefined while the message is incomplete. */
  payload(): unknown {
    if (!this.isWhole) return undefined
    this.reader ??= new PayloadReader()
    return this.reader.parse(this.bytes(), this.size)
  }

  payloadField(path: FieldPath): unknown {
    if (!this.isWhole) return undefined
    this.reader ??= new PayloadReader()
    return this.reader.readField(this.bytes(), this.size, path)
  }

  bytes(): Buffer {
    return this.bytesOfPacket.subarray(this.payloadStart, this.payloadStart + this.size)
  }

  private get isWhole(): boolean {
    return this.payloadStart + this.size <= this.bytesOfPacket.length
  }

  /** Undefined before MQTT 5. */
  private get properties(): PropertyList | undefined {
    if (!this.isV5) return undefined
    this.list ??= readProperties(this.bytesOfPacket, this.propertiesStart, this.payloadStart)
    return this.list
  }

  /** Copies the packet out of the chunk, which it would keep in memory while it waits. */
  detach(): void {
    const end = this.payloadStart + this.size
    const copy = Buffer.allocUnsafeSlow(end - this.start)
    this.bytesOfPacket.copy(copy, 0, this.start, end)
    this.propertiesStart -= this.start
    this.payloadStart -= this.start
    this.bytesOfPacket = copy
    this.start = 0
    this.list = undefined
  }

  /**
   * Returns the packet with its topic and without its topic alias, so that it means the same whenever it is sent. An
   * unchanged packet is the received bytes.
   */
  encode(): Buffer {
    if (findProperty(this.properties, PROPERTY.topicAlias) !== undefined) return this.encodeAs({})
    return this.bytesOfPacket.subarray(this.start, this.payloadStart + this.size)
  }

  /** Returns the packet with its topic written out and its alias kept, which sets the alias at the receiver. */
  encodeWithTopic(): Buffer {
    return this.encodeAs({ keepsAlias: true })
  }

  /** Returns the packet with changes. Properties keep their order; `added` ones stand last. */
  encodeAs(changes: PublishChanges): Buffer {
    const { payload, added } = changes
    return encodePublish({
      topic: changes.topic ?? this.topic,
      payload: payload ?? this.bytes(),
      qos: changes.qos ?? this.qos,
      retain: changes.retain ?? this.retain,
      duplicate: this.duplicate,
      id: this.id,
      properties: this.isV5 ? this.#propertyBytes(changes.keepsAlias === true, added) : undefined,
    })
  }

  #propertyBytes(keepsAlias: boolean, added: Buffer | undefined): Buffer {
    const kept = (this.properties?.properties ?? [])
      .filter(({ id }) => keepsAlias || id !== PROPERTY.topicAlias)
      .map(({ start, end }) => this.bytesOfPacket.subarray(start, end))
    return Buffer.concat(added === undefined ? kept : [...kept, added])
  }
}

export interface PublishChanges {
  readonly topic?: string | undefined
  readonly payload?: Uint8Array | undefined
  readonly qos?: Qos | undefined
  readonly retain?: boolean | undefined
  /** Keeps the topic alias, which else is removed. */
  readonly keepsAlias?: boolean | undefined
  /** Encoded properties to add. */
  readonly added?: Buffer | undefined
}
