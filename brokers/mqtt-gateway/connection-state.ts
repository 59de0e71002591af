import type { Decision } from '../../src/core/decision.ts'
import type { Sender } from '../../src/core/message.ts'
import type { PacketPipe } from '../../src/gateway/packet-pipe.ts'
import type { PacketProblem } from '../../src/gateway/packet-walker.ts'
import type { MqttGatewayContext } from './gateway-context.ts'
import type { Explanation } from './write-packets.ts'

/** An accepted connection, as used by its parts. */
export interface ConnectionState {
  readonly context: MqttGatewayContext
  readonly sender: Sender
  readonly isV5: boolean
  /** Maximum packet size that the client accepts. */
  readonly clientMaxBytes: number
  readonly toBroker: PacketPipe
  readonly toClient: PacketPipe
  /** True once nothing more is decided. */
  readonly isClosing: boolean
  /** Sends a packet of the gateway to the client, and counts it. */
  answer(packet: Buffer, code: number): void
  /** Returns the explanation of a refusal; undefined if the client does not want one. */
  explain(decision: Decision): Explanation | undefined
  /** Disconnects the client because of a decision. */
  disconnect(decision: Decision): void
  onProblem(problem: PacketProblem): void
  /** Disconnects the client because of a packet that breaks the protocol; `code` is for MQTT 5. */
  onProtocolError(code: number): void
}
