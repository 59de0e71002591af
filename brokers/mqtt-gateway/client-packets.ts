import type { PacketDecider } from '../../src/gateway/packet-pipe.ts'
import { PASS, type PacketProblem, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import type { ClientPublishes } from './client-publishes.ts'
import type { ClientSubscriptions } from './client-subscriptions.ts'
import type { ConnectionState } from './connection-state.ts'
import { PACKET, REASON } from './packet-types.ts'
import { PINGRESP_PACKET } from './write-packets.ts'

/** Client connection before and after the broker has accepted it. */
export interface ClientConnection extends ConnectionState {
  /** The parts that decide; undefined until the broker has accepted the connection. */
  readonly publishes: ClientPublishes | undefined
  readonly subscriptions: ClientSubscriptions | undefined
  /** Handles the first packet. */
  decideFirstPacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict
  /** True from the CONNECT until the CONNACK: AUTH packets pass. */
  readonly isAuthenticating: boolean
  /** Sends a packet to the broker behind the messages that are held now. Returns false if none is. */
  sendInOrder(packet: Buffer): boolean
  /** Ends the connection with a DISCONNECT of the client, once no message waits. Returns false if none does. */
  disconnectInOrder(packet: Buffer): boolean
}

/** Decides about the packets of a client. */
export class ClientPackets implements PacketDecider {
  readonly #connection: ClientConnection

  constructor(connection: ClientConnection) {
    this.#connection = connection
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const connection = this.#connection
    const { publishes } = connection
    const type = bytes[start]! >> 4
    if (publishes === undefined) return connection.decideFirstPacket(bytes, start, body, end)
    switch (type) {
      case PACKET.publish:
        return publishes.decidePacket(bytes, start, body, end)
      case PACKET.subscribe:
        return connection.subscriptions!.decideSubscribe(bytes, start, body, end)
      case PACKET.pubrel:
        return this.#decidePubrel(bytes, start, body, end)
      case PACKET.unsubscribe:
        if (bytes.length < end) return end - start
        return connection.sendInOrder(bytes.subarray(start, end)) ? SKIP : PASS
      case PACKET.disconnect:
        if (bytes.length < end) return end - start
        return connection.disconnectInOrder(bytes.subarray(start, end)) ? SKIP : PASS
      case PACKET.connect:
        // A second CONNECT is a protocol error [MQTT-3.1.0-2].
        connection.onProblem('malformed')
        return STOP
      default:
        return PASS
    }
  }

  overtake(bytes: Buffer, start: number, _body: number, end: number): PacketVerdict {
    const connection = this.#connection
    const type = bytes[start]! >> 4
    if (connection.publishes === undefined) {
      if (type !== PACKET.auth || !connection.isAuthenticating) return PASS
      if (bytes.length < end) return end - start
      connection.toBroker.insert(bytes.subarray(start, end))
      return SKIP
    }
    switch (type) {
      case PACKET.pingreq:
        connection.answer(PINGRESP_PACKET, REASON.success)
        return SKIP
      case PACKET.puback:
      case PACKET.pubrec:
      case PACKET.pubcomp:
      case PACKET.pubrel: {
        if (bytes.length < end) return end - start
        const isAnswered = type === PACKET.pubrel && this.#decidePubrel(bytes, start, _body, end) === SKIP
        if (!isAnswered) connection.toBroker.insert(bytes.subarray(start, end))
        return SKIP
      }
      default:
        return PASS
    }
  }

  onReadAheadFull(): void {
    this.#connection.publishes?.releaseIfStuck()
  }

  onProblem(problem: PacketProblem): void {
    this.#connection.onProblem(problem)
  }

  #decidePubrel(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    if (body + 2 > end) return PASS
    if (bytes.length < end) return end - start
    const id = (bytes[body]! << 8) | bytes[body + 1]!
    return this.#connection.publishes!.handlePubrel(id) ? SKIP : PASS
  }
}
