import { PACKET, PROPERTY, REASON } from './packet-types.ts'
import { findProperty, type PropertyList, readNumber, readProperties, readText } from './properties.ts'
import { encodePacket, encodeProperties } from './write-packets.ts'

/** A CONNACK, as far as the gateway reads it. */
export interface Connack {
  readonly isSessionPresent: boolean
  /** 0 if the broker accepted the connection. */
  readonly reasonCode: number
  readonly assignedClientId: string | undefined
  readonly serverKeepAliveS: number | undefined
  readonly receiveMaximum: number | undefined
  readonly topicAliasMaximum: number
}

/** Reads a complete CONNACK whose body begins at `body`. Returns undefined if it is malformed. */
export function readConnack(bytes: Buffer, body: number, end: number, isV5: boolean): Connack | undefined {
  if (body + 2 > end) return undefined
  // A broker that does not know MQTT 5 answers without properties.
  const list = isV5 && body + 2 < end ? readProperties(bytes, body + 2, end) : undefined
  return {
    isSessionPresent: (bytes[body]! & 1) === 1,
    reasonCode: bytes[body + 1]!,
    assignedClientId: readText(bytes, findProperty(list, PROPERTY.assignedClientId)),
    serverKeepAliveS: readNumber(bytes, findProperty(list, PROPERTY.serverKeepAlive)),
    receiveMaximum: readNumber(bytes, findProperty(list, PROPERTY.receiveMaximum)),
    topicAliasMaximum: readNumber(bytes, findProperty(list, PROPERTY.topicAliasMaximum)) ?? 0,
  }
}

/**
 * Returns a CONNACK or DISCONNECT of MQTT 5 without the reference to another server, which would lead the client around
 * the gateway; undefined if it has none. `codeAt` is the place of its reason code, the last byte before the properties.
 */
export function withoutServerReference(
  bytes: Buffer,
  start: number,
  codeAt: number,
  end: number,
): Buffer | undefined {
  if (codeAt >= end) return undefined
  const code = bytes[codeAt]!
  const isReferral = code === REASON.useAnotherServer || code === REASON.serverMoved
  const list = codeAt + 1 < end ? readProperties(bytes, codeAt + 1, end) : undefined
  if (!isReferral && findProperty(list, PROPERTY.serverReference) === undefined) return undefined
  const isConnack = bytes[start]! >> 4 === PACKET.connack
  const head = isConnack ? bytes.subarray(codeAt - 1, codeAt) : Buffer.alloc(0)
  const instead = isConnack ? REASON.serverUnavailable : REASON.serverShuttingDown
  return encodePacket(
    bytes[start]!,
    head,
    Buffer.from([isReferral ? instead : code]),
    encodeProperties(...keptProperties(bytes, list)),
  )
}

function keptProperties(bytes: Buffer, list: PropertyList | undefined): readonly Buffer[] {
  return (list?.properties ?? [])
    .filter(({ id }) => id !== PROPERTY.serverReference)
    .map(({ start, end }) => bytes.subarray(start, end))
}
