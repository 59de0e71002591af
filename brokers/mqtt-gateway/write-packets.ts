import { PACKET, PROPERTY, type Qos, REASON } from './packet-types.ts'
import { sizeOfVariableInteger, writeVariableInteger } from './variable-integer.ts'

/** Explanation of a refusal for clients of MQTT 5. */
export interface Explanation {
  readonly text: string
  readonly fields: Readonly<Record<string, string>>
}

const NO_BYTES = Buffer.alloc(0)

export const PINGREQ_PACKET = Buffer.from([PACKET.pingreq << 4, 0])
export const PINGRESP_PACKET = Buffer.from([PACKET.pingresp << 4, 0])
/** DISCONNECT with reason code 0, in any version: the broker does not publish the will. */
export const NORMAL_DISCONNECT_PACKET = Buffer.from([PACKET.disconnect << 4, 0])

/** Returns a packet: its first byte, the remaining length and the parts of its body. */
export function encodePacket(first: number, ...parts: readonly Buffer[]): Buffer {
  let length = 0
  for (const part of parts) length += part.length
  const packet = Buffer.allocUnsafe(1 + sizeOfVariableInteger(length) + length)
  packet[0] = first
  let at = writeVariableInteger(packet, length, 1)
  for (const part of parts) at += part.copy(packet, at)
  return packet
}

/** Returns a property list with its length: the given encoded properties. */
export function encodeProperties(...properties: readonly Buffer[]): Buffer {
  let length = 0
  for (const property of properties) length += property.length
  const list = Buffer.allocUnsafe(sizeOfVariableInteger(length) + length)
  let at = writeVariableInteger(list, length, 0)
  for (const property of properties) at += property.copy(list, at)
  return list
}

/** Returns a text with its length of two bytes. */
export function encodeText(text: string | Buffer): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  const encoded = Buffer.allocUnsafe(2 + bytes.length)
  encoded.writeUInt16BE(bytes.length)
  bytes.copy(encoded, 2)
  return encoded
}

export function encodeTextProperty(id: number, text: string): Buffer {
  return Buffer.concat([Buffer.from([id]), encodeText(text)])
}

export function encodeUserProperties(fields: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(fields).flatMap(([name, value]) => [
    Buffer.from([PROPERTY.userProperty]),
    encodeText(name),
    encodeText(value),
  ])
  return pairs.length === 0 ? NO_BYTES : Buffer.concat(pairs)
}

function encodeExplanation({ text, fields }: Explanation): Buffer {
  return encodeProperties(encodeTextProperty(PROPERTY.reasonString, text), encodeUserProperties(fields))
}

/** Returns the packet with its explanation, or without it if there is none or the client's maximum size is exceeded. */
function explained(
  explanation: Explanation | undefined,
  maxBytes: number,
  encode: (properties: Buffer) => Buffer,
  withoutProperties: () => Buffer,
): Buffer {
  if (explanation === undefined) return withoutProperties()
  const packet = encode(encodeExplanation(explanation))
  return packet.length <= maxBytes ? packet : withoutProperties()
}

/** Returns a PUBACK, PUBREC, PUBREL or PUBCOMP without a reason code, which means success in all versions. */
export function encodeAck(type: number, id: number): Buffer {
  const packet = Buffer.allocUnsafe(4)
  packet[0] = (type << 4) | (type === PACKET.pubrel ? 2 : 0)
  packet[1] = 2
  packet.writeUInt16BE(id, 2)
  return packet
}

/** Returns a PUBACK or PUBREC of MQTT 5 that refuses a publish. */
export function encodeRefusedAck(
  type: number,
  id: number,
  reasonCode: number,
  explanation: Explanation | undefined,
  maxBytes: number,
): Buffer {
  const head = Buffer.from([id >> 8, id & 0xff, reasonCode])
  return explained(
    explanation,
    maxBytes,
    properties => encodePacket(type << 4, head, properties),
    () => encodePacket(type << 4, head),
  )
}

/** Returns a CONNACK that refuses a connection; `reasonCode` is a return code before MQTT 5. */
export function encodeRefusedConnack(
  isV5: boolean,
  reasonCode: number,
  explanation: Explanation | undefined,
  maxBytes: number,
): Buffer {
  const head = Buffer.from([0, reasonCode])
  if (!isV5) return encodePacket(PACKET.connack << 4, head)
  return explained(
    explanation,
    maxBytes,
    properties => encodePacket(PACKET.connack << 4, head, properties),
    () => encodePacket(PACKET.connack << 4, head, encodeProperties()),
  )
}

/** Returns a DISCONNECT of MQTT 5. */
export function encodeDisconnect(
  reasonCode: number,
  explanation: Explanation | undefined,
  maxBytes: number,
): Buffer {
  const head = Buffer.from([reasonCode])
  return explained(
    explanation,
    maxBytes,
    properties => encodePacket(PACKET.disconnect << 4, head, properties),
    () => encodePacket(PACKET.disconnect << 4, head),
  )
}

/** Returns a SUBACK with one code for each filter. */
export function encodeSuback(
  isV5: boolean,
  id: number,
  codes: readonly number[],
  explanation: Explanation | undefined,
  maxBytes: number,
): Buffer {
  const head = Buffer.from([id >> 8, id & 0xff])
  const tail = Buffer.from(codes)
  if (!isV5) return encodePacket(PACKET.suback << 4, head, tail)
  return explained(
    explanation,
    maxBytes,
    properties => encodePacket(PACKET.suback << 4, head, properties, tail),
    () => encodePacket(PACKET.suback << 4, head, encodeProperties(), tail),
  )
}

export interface NewPublish {
  readonly topic: string | Buffer
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  readonly duplicate: boolean
  /** Ignored at QoS 0. */
  readonly id: number
  /** Encoded properties without their length; undefined before MQTT 5. */
  readonly properties: Buffer | undefined
}

export function encodePublish(publish: NewPublish): Buffer {
  const { topic, payload, qos, retain, duplicate, id, properties } = publish
  const first = (PACKET.publish << 4) | (duplicate && qos > 0 ? 8 : 0) | (qos << 1) | (retain ? 1 : 0)
  return encodePacket(
    first,
    encodeText(topic),
    qos === 0 ? NO_BYTES : Buffer.from([id >> 8, id & 0xff]),
    properties === undefined ? NO_BYTES : encodeProperties(properties),
    Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
  )
}

/** Returns the reason code of a CONNACK before MQTT 5 that corresponds to a reason code of MQTT 5. */
export function toReturnCode(reasonCode: number): number {
  if (reasonCode === REASON.banned) return 5
  return reasonCode === REASON.clientIdInvalid ? 2 : 3
}
