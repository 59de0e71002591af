import { warnOfMissingInternals } from '../../src/broker-support/warn-missing-internals.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { Corkable, ReceivingClient } from './client-types.ts'

/** Acknowledgement that is sent separately from the client's own. */
export interface AckPacket {
  readonly cmd: 'puback' | 'pubcomp'
  readonly messageId: number
  readonly reasonCode?: number | undefined
}

/** All members of an MQTT.js client that are not public. If one is missing, the public API is used instead. */
interface Internals {
  _sendPacket?(packet: AckPacket, done: () => void): void
  /** Since 5.16. The client counts messages of QoS 2 until this is called. */
  _trackIncomingQoS2Publish?: unknown
  _releaseIncomingQoS2Publish?(messageId: number): void
}

/** Socket of a client, which is public. */
interface Writing {
  readonly stream?: (Corkable & { write?(bytes: Uint8Array): unknown }) | undefined
}

const ignore = (): void => {}

/** Returns the names of the internal members that a client lacks. */
export function findMissingClientInternals(client: ReceivingClient): readonly string[] {
  const internals = client as Internals
  const missing: string[] = []
  if (typeof internals._sendPacket !== 'function') missing.push('_sendPacket')
  if (!canAckQoS2Separately(client)) missing.push('_releaseIncomingQoS2Publish')
  return missing
}

/** Logs a warning with the internal members that a client lacks. */
export function warnMissingClientInternals(client: ReceivingClient, logger: Logger): void {
  const missing = findMissingClientInternals(client)
  if (missing.length === 0) return
  const { VERSION } = client.constructor as { readonly VERSION?: unknown }
  const name = typeof VERSION === 'string' ? `MQTT.js ${VERSION}` : 'this version of MQTT.js'
  warnOfMissingInternals(logger, name, missing, 'asks a distant store about one message of QoS 2 at a time')
}

/** Returns the socket of a client. */
export function socketOf(client: ReceivingClient): Corkable | undefined {
  return (client as Writing).stream
}

/** Returns true if a QoS 2 message can be acknowledged separately from the client, which must stop counting it. */
export function canAckQoS2Separately(client: ReceivingClient): boolean {
  const {
    _sendPacket: send,
    _trackIncomingQoS2Publish: track,
    _releaseIncomingQoS2Publish: release,
  } = client as Internals
  if (typeof release === 'function') return true
  // Before 5.16 nothing was counted. A client without either member is unknown.
  return track === undefined && typeof send === 'function'
}

/** Makes the client stop counting an incoming QoS 2 message, which topicgate acknowledges in its place. */
export function releaseIncomingQoS2(client: ReceivingClient, messageId: number): void {
  ;(client as Internals)._releaseIncomingQoS2Publish?.(messageId)
}

/** Sends an acknowledgement by the client or its socket. */
export function sendAck(client: ReceivingClient, ack: AckPacket): void {
  const internals = client as Internals
  if (typeof internals._sendPacket === 'function') internals._sendPacket(ack, ignore)
  else (client as Writing).stream?.write?.(encodeAck(ack))
}

/** Encodes an acknowledgement. A reason code of 0 may be left out, as on MQTT 3.1.1 [MQTT-3.4.2.1]. */
function encodeAck({ cmd, messageId, reasonCode = 0 }: AckPacket): Uint8Array {
  const id = [messageId >> 8, messageId & 0xff] as const
  const type = cmd === 'puback' ? 0x40 : 0x70
  return Uint8Array.from(reasonCode === 0 ? [type, 2, ...id] : [type, 3, ...id, reasonCode])
}
