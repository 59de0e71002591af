import { findMessageProblem, wrongTypeError } from '../../src/publish/validate-topic-and-payload.ts'
import type { PublishOptions } from './client-types.ts'

/** Largest remaining length of a packet [MQTT-2.2.3]. Its fixed header has 5 bytes. */
const LARGEST_PACKET_BYTES = 268_435_455
const TEXT_BYTES = 65_535
/** Type and flags, length of the topic, packet id. */
const HEADER_BYTES = 5
/** Bytes of the longest fixed-length property, with its identifier. */
const PROPERTY_BYTES = 5

const isWithin = (min: number, max: number) => (value: unknown) =>
  typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
const isText = (value: unknown): boolean =>
  typeof value === 'string' && !value.includes('\0') && Buffer.byteLength(value) <= TEXT_BYTES

/** Properties of a PUBLISH that a client may send [MQTT-3.3.2.3]. */
const PROPERTIES: Readonly<Record<string, (value: unknown) => boolean>> = {
  payloadFormatIndicator: value => typeof value === 'boolean',
  messageExpiryInterval: isWithin(0, 4_294_967_295),
  topicAlias: isWithin(1, 65_535),
  responseTopic: value => isText(value) && value !== '' && !/[+#]/.test(value as string),
  correlationData: value => value instanceof Uint8Array && value.length <= TEXT_BYTES,
  userProperties: isUserProperties,
  contentType: isText,
}

/**
 * Returns the problem with a message for which MQTT.js or the broker would close the connection, or undefined if there
 * is none. Why: at QoS 1 and 2 the client would send it again on each connection. Never throws.
 */
export function findPublishProblem(
  topic: unknown,
  payload: unknown,
  options: PublishOptions,
): Error | undefined {
  const { qos = 0, retain = false, dup = false, properties } = options
  if (qos !== 0 && qos !== 1 && qos !== 2) return wrongTypeError('qos', qos, '0, 1 or 2')
  if (typeof retain !== 'boolean') return wrongTypeError('retain', retain, 'true or false')
  if (typeof dup !== 'boolean') return wrongTypeError('dup', dup, 'true or false')
  return findMessageProblem(topic, payload, 'mqtt') ?? findPropertyProblem(properties)
}

function findPropertyProblem(properties: unknown): Error | undefined {
  if (properties === undefined) return undefined
  if (typeof properties !== 'object' || properties === null || Array.isArray(properties))
    return wrongTypeError('properties', properties, 'an object of the properties of MQTT 5')
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue
    const isValid = Object.hasOwn(PROPERTIES, name) ? PROPERTIES[name] : undefined
    if (isValid === undefined)
      return new TypeError(`properties.${name.slice(0, 40)}: a PUBLISH has no such property.`)
    if (!isValid(value)) return wrongTypeError(`properties.${name}`, value, 'a valid value')
  }
  return undefined
}

function isUserProperties(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.entries(value).every(
    ([name, each]) => isText(name) && (Array.isArray(each) ? each.every(isText) : isText(each)),
  )
}

/** Returns an error if a packet exceeds the broker's Maximum Packet Size (CONNACK). */
export function findSizeProblem(
  { topic, size }: { readonly topic: string; readonly size: number },
  properties: PublishOptions['properties'],
  maximumPacketSize: number | undefined,
): Error | undefined {
  const max = Math.min(maximumPacketSize ?? Infinity, LARGEST_PACKET_BYTES)
  // A character has at most three bytes in UTF-8.
  if (properties === undefined && size + 3 * topic.length + 2 * HEADER_BYTES <= max) return undefined
  const propertiesLength = propertyBytes(properties)
  const length =
    HEADER_BYTES - 1 + Buffer.byteLength(topic) + lengthBytes(propertiesLength) + propertiesLength + size
  const packet = 1 + lengthBytes(length) + length
  if (packet <= max) return undefined
  return new RangeError(`payload: a packet of ${packet} bytes exceeds the limit of the broker, ${max} bytes.`)
}

/** Returns the bytes of a variable byte integer [MQTT-1.5.5]. */
function lengthBytes(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4
}

function propertyBytes(properties: PublishOptions['properties']): number {
  let bytes = 0
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (typeof value === 'string') bytes += 3 + Buffer.byteLength(value)
    else if (value instanceof Uint8Array) bytes += 3 + value.length
    else if (name === 'userProperties')
      bytes += userPropertyBytes(value as Readonly<Record<string, string | string[]>>)
    else if (value !== undefined) bytes += PROPERTY_BYTES
  }
  return bytes
}

function userPropertyBytes(properties: Readonly<Record<string, string | readonly string[]>>): number {
  let bytes = 0
  for (const [name, value] of Object.entries(properties))
    for (const each of typeof value === 'string' ? [value] : value)
      bytes += 5 + Buffer.byteLength(name) + Buffer.byteLength(each)
  return bytes
}
