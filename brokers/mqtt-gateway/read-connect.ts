import { PROPERTY, type Qos } from './packet-types.ts'
import { endOfText, findProperty, type PropertyList, readNumber, readProperties } from './properties.ts'
import { encodePacket, encodeText } from './write-packets.ts'

/** Bit of the protocol level that bridges set. */
const BRIDGE_BIT = 0x80

const WILL_FLAG = 0x04
const WILL_BITS = 0x3c
const USERNAME_FLAG = 0x80

export interface WillFields {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
}

/** A CONNECT, as far as the gateway reads it. */
export interface Connect {
  readonly packet: Buffer
  /** 3, 4 or 5. */
  readonly version: number
  readonly clientId: string
  readonly username: string | undefined
  readonly keepAliveS: number
  readonly will: WillFields | undefined
  /** Values of MQTT 5, with their defaults. */
  readonly wantsProblemInformation: boolean
  readonly maxPacketBytes: number
  readonly topicAliasMaximum: number
  /** Places in the packet. The username begins where the will ends, and the password where the username ends. */
  readonly bodyStart: number
  readonly flagsAt: number
  readonly willStart: number
  readonly willEnd: number
  readonly usernameEnd: number
}

/** Reads a complete CONNECT whose body begins at `body`. Returns undefined if it is malformed. */
export function readConnect(packet: Buffer, body: number): Connect | undefined {
  const end = packet.length
  const nameEnd = endOfText(packet, body, end)
  if (nameEnd === undefined || nameEnd + 4 > end) return undefined
  const version = packet[nameEnd]! & ~BRIDGE_BIT
  const flagsAt = nameEnd + 1
  const flags = packet[flagsAt]!
  const isV5 = version === 5
  let at = nameEnd + 4
  let list: PropertyList | undefined
  if (isV5) {
    list = readProperties(packet, at, end)
    if (list === undefined) return undefined
    at = list.end
  }
  const idStart = at
  const idEnd = endOfText(packet, at, end)
  if (idEnd === undefined) return undefined
  const will = flags & WILL_FLAG ? readWill(packet, idEnd, isV5, flags) : undefined
  if (flags & WILL_FLAG && will === undefined) return undefined
  const willEnd = will?.end ?? idEnd
  const usernameEnd = flags & USERNAME_FLAG ? endOfText(packet, willEnd, end) : willEnd
  if (usernameEnd === undefined) return undefined
  return {
    packet,
    version,
    clientId: packet.toString('utf8', idStart + 2, idEnd),
    username: flags & USERNAME_FLAG ? packet.toString('utf8', willEnd + 2, usernameEnd) : undefined,
    keepAliveS: packet.readUInt16BE(flagsAt + 1),
    will: will?.fields,
    wantsProblemInformation: readNumber(packet, findProperty(list, PROPERTY.requestProblemInformation)) !== 0,
    maxPacketBytes: readNumber(packet, findProperty(list, PROPERTY.maximumPacketSize)) ?? Infinity,
    topicAliasMaximum: readNumber(packet, findProperty(list, PROPERTY.topicAliasMaximum)) ?? 0,
    bodyStart: body,
    flagsAt,
    willStart: idEnd,
    willEnd,
    usernameEnd,
  }
}

function readWill(
  packet: Buffer,
  start: number,
  isV5: boolean,
  flags: number,
): { readonly fields: WillFields; readonly end: number } | undefined {
  const topicStart = isV5 ? readProperties(packet, start, packet.length)?.end : start
  const payloadStart = topicStart && endOfText(packet, topicStart, packet.length)
  const end = payloadStart && endOfText(packet, payloadStart, packet.length)
  const qos = (flags >> 3) & 3
  if (topicStart === undefined || payloadStart === undefined || end === undefined || qos === 3)
    return undefined
  return {
    fields: {
      topic: packet.toString('utf8', topicStart + 2, payloadStart),
      payload: packet.subarray(payloadStart + 2, end),
      qos: qos as Qos,
      retain: (flags & 0x20) !== 0,
    },
    end,
  }
}

export interface ConnectChanges {
  readonly withoutWill: boolean
  readonly username: string | undefined
}

/** Returns the CONNECT without its will or with another username; all other bytes stay as they came. */
export function rewriteConnect(connect: Connect, { withoutWill, username }: ConnectChanges): Buffer {
  const { packet, bodyStart, flagsAt, willStart, willEnd, usernameEnd } = connect
  let flags = packet[flagsAt]!
  if (withoutWill) flags &= ~WILL_BITS
  if (username !== undefined) flags |= USERNAME_FLAG
  return encodePacket(
    packet[0]!,
    packet.subarray(bodyStart, flagsAt),
    Buffer.from([flags]),
    packet.subarray(flagsAt + 1, willStart),
    withoutWill ? Buffer.alloc(0) : packet.subarray(willStart, willEnd),
    username === undefined ? packet.subarray(willEnd, usernameEnd) : encodeText(username),
    packet.subarray(usernameEnd),
  )
}
