import type { PacketDecider } from '../../src/gateway/packet-pipe.ts'
import { PASS, type PacketProblem, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import type { ClientPublishes } from './client-publishes.ts'
import type { ClientSubscriptions } from './client-subscriptions.ts'
import type { ConnectionState } from './connection-state.ts'
import type { ControlLine } from './control-line.ts'
import { OPERATION } from './operations.ts'

/** Client connection before and after the server has accepted it. */
export interface ClientConnection extends ConnectionState {
  /** The parts that decide; undefined until the server has accepted the connection. */
  readonly publishes: ClientPublishes | undefined
  readonly subscriptions: ClientSubscriptions | undefined
  /** Handles the CONNECT. */
  handleConnect(line: Buffer): void
  /** Handles a PING. Returns true if it is sent later, behind the messages that are held now. */
  handleClientPing(line: Buffer): boolean
}

/** Decides about the lines of a client. */
export class ClientLines implements PacketDecider {
  readonly #connection: ClientConnection
  readonly #line: ControlLine

  /** `line` is the header of the packets, which is read just before each decision. */
  constructor(connection: ClientConnection, line: ControlLine) {
    this.#connection = connection
    this.#line = line
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const connection = this.#connection
    const { publishes, subscriptions } = connection
    const line = this.#line
    const { operation } = line
    if (publishes === undefined || subscriptions === undefined) {
      if (operation !== OPERATION.connect) return this.#stop()
      connection.handleConnect(Buffer.from(bytes.subarray(start, end)))
      return SKIP
    }
    switch (operation) {
      case OPERATION.pub:
      case OPERATION.hpub:
        return publishes.decidePublish(line, bytes, start, body, end)
      case OPERATION.sub:
        return subscriptions.decideSubscribe(bytes, start, body)
      case OPERATION.unsub:
        return subscriptions.decideUnsubscribe(bytes, start, body)
      case OPERATION.ping:
        return connection.handleClientPing(bytes.subarray(start, end)) ? SKIP : PASS
      case OPERATION.pong:
        return PASS
      default:
        // Also a second CONNECT, which could change the identity.
        return this.#stop()
    }
  }

  overtake(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const connection = this.#connection
    const { publishes } = connection
    if (publishes === undefined) return PASS
    const line = this.#line
    const { operation } = line
    const isUrgent =
      operation === OPERATION.pong ||
      ((operation === OPERATION.pub || operation === OPERATION.hpub) &&
        publishes.isUrgent(line, bytes, start, body, end))
    if (!isUrgent) return PASS
    if (bytes.length < end) return end - start
    connection.toBroker.insert(bytes.subarray(start, end))
    return SKIP
  }

  onProblem(problem: PacketProblem): void {
    this.#connection.onProblem(problem)
  }

  #stop(): PacketVerdict {
    this.#connection.onProblem('malformed')
    return STOP
  }
}
