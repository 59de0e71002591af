import type { PacketDecider } from '../../src/gateway/packet-pipe.ts'
import { PASS, type PacketProblem, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import type { ClientDeliveries } from './client-deliveries.ts'
import type { ClientPublishes } from './client-publishes.ts'
import type { ClientSubscriptions } from './client-subscriptions.ts'
import type { ConnectionState } from './connection-state.ts'
import { PACKET } from './packet-types.ts'
import { withoutServerReference } from './read-connack.ts'

/** Connection to the broker before and after it has accepted the client. */
export interface BrokerConnection extends ConnectionState {
  readonly publishes: ClientPublishes | undefined
  readonly subscriptions: ClientSubscriptions | undefined
  readonly deliveries: ClientDeliveries | undefined
  /** Handles the CONNACK. */
  decideConnack(bytes: Buffer, start: number, body: number, end: number): PacketVerdict
  /** Returns true if a PINGRESP answers a PINGREQ of the gateway. */
  handlePingresp(): boolean
  /** Called when the broker disconnects the client itself. */
  onBrokerDisconnect(): void
}

/** Decides about the packets of the broker. */
export class BrokerPackets implements PacketDecider {
  readonly #connection: BrokerConnection

  constructor(connection: BrokerConnection) {
    this.#connection = connection
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const connection = this.#connection
    const type = bytes[start]! >> 4
    const { publishes, deliveries, subscriptions } = connection
    if (publishes === undefined || deliveries === undefined || subscriptions === undefined) {
      if (type === PACKET.auth) return PASS
      if (type === PACKET.connack) return connection.decideConnack(bytes, start, body, end)
      connection.onProblem('malformed')
      return STOP
    }
    switch (type) {
      case PACKET.publish:
        return deliveries.decidePacket(bytes, start, body, end)
      case PACKET.puback:
      case PACKET.pubrec:
      case PACKET.pubcomp: {
        if (bytes.length < end) return end - start
        if (body + 2 > end) return PASS
        const id = (bytes[body]! << 8) | bytes[body + 1]!
        const reasonCode = body + 2 < end ? bytes[body + 2]! : 0
        return publishes.handleBrokerAck(type, id, reasonCode) ? SKIP : PASS
      }
      case PACKET.pubrel: {
        if (bytes.length < end) return end - start
        if (body + 2 > end) return PASS
        return deliveries.handlePubrel((bytes[body]! << 8) | bytes[body + 1]!) ? SKIP : PASS
      }
      case PACKET.suback: {
        if (!subscriptions.hasRefusedFilters) return PASS
        if (bytes.length < end) return end - start
        const completed = subscriptions.completeSuback(bytes, start, body, end)
        if (completed === undefined) return PASS
        connection.toClient.insert(completed)
        return SKIP
      }
      case PACKET.pingresp:
        return connection.handlePingresp() ? SKIP : PASS
      case PACKET.disconnect: {
        if (bytes.length < end) return end - start
        connection.onBrokerDisconnect()
        if (connection.context.settings.advertise) return PASS
        const changed = withoutServerReference(bytes, start, body, end)
        if (changed === undefined) return PASS
        connection.context.countRewrite(type)
        connection.toClient.insert(changed)
        return SKIP
      }
      default:
        return PASS
    }
  }

  overtake(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const type = bytes[start]! >> 4
    if (this.#connection.publishes === undefined || type === PACKET.publish || type === PACKET.disconnect)
      return PASS
    if (bytes.length < end) return end - start
    if (this.decidePacket(bytes, start, body, end) === PASS)
      this.#connection.toClient.insert(bytes.subarray(start, end))
    return SKIP
  }

  onProblem(problem: PacketProblem): void {
    this.#connection.onProblem(problem)
  }
}
