import type { PacketDecider } from '../../src/gateway/packet-pipe.ts'
import { PASS, type PacketProblem, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import type { ClientDeliveries } from './client-deliveries.ts'
import type { ConnectionState } from './connection-state.ts'
import type { ControlLine } from './control-line.ts'
import { OPERATION } from './operations.ts'
import { PONG_LINE } from './write-lines.ts'

/** Connection to the server before and after it has accepted the client. */
export interface ServerConnection extends ConnectionState {
  readonly deliveries: ClientDeliveries | undefined
  /** Handles an INFO. */
  handleInfo(line: string): void
  /** Returns true if a PONG answers a PING of the gateway. */
  handlePong(): boolean
  /** Returns true if a +OK confirms a line of the gateway. */
  handleOk(): boolean
  /** Handles an -ERR, which also reaches the client. */
  handleError(): void
}

/** Decides about the lines of the server. */
export class ServerLines implements PacketDecider {
  readonly #connection: ServerConnection
  readonly #line: ControlLine

  /** `line` is the header of the packets, which is read just before each decision. */
  constructor(connection: ServerConnection, line: ControlLine) {
    this.#connection = connection
    this.#line = line
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const connection = this.#connection
    const { operation } = this.#line
    switch (operation) {
      case OPERATION.msg:
      case OPERATION.hmsg:
        if (connection.deliveries === undefined) break
        return connection.deliveries.decideDelivery(bytes, start, body, end, operation === OPERATION.hmsg)
      case OPERATION.info:
        connection.handleInfo(bytes.toString('utf8', start, end))
        return SKIP
      case OPERATION.ping:
        if (!connection.toBroker.isBlocked) return PASS
        // The answer of the client waits unread.
        connection.toBroker.insert(PONG_LINE)
        return SKIP
      case OPERATION.pong:
        return connection.handlePong() ? SKIP : PASS
      case OPERATION.ok:
        return connection.handleOk() ? SKIP : PASS
      case OPERATION.error:
        connection.handleError()
        return PASS
    }
    connection.onProblem('malformed')
    return STOP
  }

  overtake(): PacketVerdict {
    if (this.#line.operation !== OPERATION.ping) return PASS
    this.#connection.toBroker.insert(PONG_LINE)
    return SKIP
  }

  onProblem(problem: PacketProblem): void {
    this.#connection.onProblem(problem)
  }
}
