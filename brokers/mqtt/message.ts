import { type Decision, PASSED } from '../../src/core/decision.ts'
import type { FieldPath } from '../../src/core/field-path.ts'
import type { MaybePromise, Message, MessageHeaders, Operation, Sender } from '../../src/core/message.ts'
import { PayloadReader } from '../../src/core/parse-payload.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { lowerCaseFields, rateLimitFields } from '../../src/outcomes/rate-limit-fields.ts'
import type { MqttJsPublishPacket } from './client-types.ts'
import type { MessageLimits } from './consumer-options.ts'

/**
 * Makes the client read the next message. Without an argument the client acknowledges this one, with an error it does not.
 * A number is the reason code of the PUBREC, for QoS 2 on MQTT 5 before the PUBREL.
 */
export type ContinueReading = (answer?: Error | number) => void

/**
 * Stage of a message. `due` messages are enacted when they are decided. The other stages are for QoS 2 on MQTT 5 before the
 * PUBREL: `early` is decided before its PUBREC, `queued` waits in a rule's queue, `decided` is enacted at its PUBREL, and
 * `done` was enacted.
 */
export type MessageStage = 'due' | 'early' | 'queued' | 'decided' | 'done'

/**
 * Received PUBLISH, for the gate, the consumer and the handler. It is the only object created per message, and reads from
 * the packet. Uses `declare`, because defining fields before assigning them costs twice.
 */
export class ReceivedMessage implements Message, MessageLimits {
  declare readonly topic: string
  declare readonly sender: Sender
  declare readonly packet: MqttJsPublishPacket
  /** The decision. PASSED until it is made. */
  declare decision: Decision
  declare private readonly gate: Gate
  /** Number of the connection it came on. */
  declare connectionId: number
  /** Makes the client read the next message. Undefined once this one is acknowledged. */
  declare continueReading: ContinueReading | undefined
  /** True if the client reads on before this message is acknowledged. It is then acknowledged separately. */
  declare isContinuedBeforeAck: boolean
  /** True while it waits in the ack window of its connection. */
  declare isInAckWindow: boolean
  /** Reason code to acknowledge it with, once it is done. */
  declare reasonCode: number | undefined
  /** Decision that was requested already. */
  declare knownDecision: MaybePromise<Decision> | undefined
  declare stage: MessageStage
  declare private reader: PayloadReader | undefined

  constructor(
    gate: Gate,
    sender: Sender,
    topic: string,
    packet: MqttJsPublishPacket,
    connectionId: number,
    continueReading: ContinueReading,
    stage: MessageStage,
  ) {
    this.gate = gate
    this.decision = PASSED
    this.topic = topic
    this.sender = sender
    this.packet = packet
    this.connectionId = connectionId
    this.continueReading = continueReading
    this.stage = stage
    this.isContinuedBeforeAck = false
    this.isInAckWindow = false
    this.reasonCode = undefined
    this.knownDecision = undefined
    this.reader = undefined
  }

  get on(): Operation {
    return 'publish'
  }

  get size(): number {
    const { payload } = this.packet
    return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
  }

  get qos(): 0 | 1 | 2 {
    return this.packet.qos ?? 0
  }

  get retain(): boolean {
    return this.packet.retain === true
  }

  get duplicate(): boolean {
    return this.packet.dup === true
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }

  /** User properties of MQTT 5. */
  get headers(): MessageHeaders | undefined {
    return this.packet.properties?.userProperties
  }

  get fields(): Readonly<Record<string, string>> {
    const { rule } = this.decision
    return lowerCaseFields(
      rateLimitFields(this.decision, rule === undefined ? undefined : this.gate.ruleOf(rule)),
    )
  }

  /** Returns the payload as JSON, parsed once, or undefined if it is not JSON or exceeds the bound. Never throws. */
  payload(): unknown {
    this.reader ??= new PayloadReader()
    return this.reader.parse(this.packet.payload, this.size)
  }

  /** Returns a field of the payload without parsing the rest; undefined if it is absent. Never throws. */
  payloadField(path: FieldPath): unknown {
    this.reader ??= new PayloadReader()
    return this.reader.readField(this.packet.payload, this.size, path)
  }

  bytes(): Uint8Array {
    const { payload } = this.packet
    return typeof payload === 'string' ? Buffer.from(payload) : payload
  }

  /** Continues with a later delivery: the next step of QoS 2, or a new connection. */
  resume(connectionId: number, continueReading: ContinueReading): void {
    this.connectionId = connectionId
    this.continueReading = continueReading
    this.isContinuedBeforeAck = false
    this.isInAckWindow = false
  }
}
