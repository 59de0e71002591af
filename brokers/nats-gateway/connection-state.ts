import type { Decision } from '../../src/core/decision.ts'
import type { Sender } from '../../src/core/message.ts'
import type { PacketPipe } from '../../src/gateway/packet-pipe.ts'
import type { PacketProblem } from '../../src/gateway/packet-walker.ts'
import type { NatsGatewayContext } from './gateway-context.ts'
import type { SubscriptionTable } from './subscription-table.ts'

/** An accepted connection, as used by its parts. */
export interface ConnectionState {
  readonly context: NatsGatewayContext
  readonly sender: Sender
  /** Maximum payload with headers, as the client knows it. */
  readonly maxPayloadBytes: number
  readonly isVerbose: boolean
  /** True if client and server send messages with headers. */
  readonly hasHeaders: boolean
  readonly subscriptionTable: SubscriptionTable
  readonly toBroker: PacketPipe
  readonly toClient: PacketPipe
  /** True once nothing more is decided. */
  readonly isClosing: boolean
  /** Confirms a line that the server never gets, if the client is verbose. */
  confirm(): void
  /** Sends a line to the server behind the messages that are held now. Calls `onSend` just before. */
  sendInOrder(line: Buffer, onSend: () => void): void
  /** Sends an UNSUB of the gateway to the server; `maximum` is 0 to unsubscribe now. */
  unsubscribe(sid: string, maximum: number): void
  /** Disconnects the client because of a decision. */
  disconnect(decision: Decision): void
  onProblem(problem: PacketProblem): void
}
