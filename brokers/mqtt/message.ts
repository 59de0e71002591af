import { type Decision, PASSED } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Action, Headers, MaybePromise, Message, Sender } from '../../src/core/message.ts'
import { type Gate, lowerCaseFields, rateLimitFields } from '../../src/index.ts'
import type { PublishPacket } from './client.ts'
import type { AckWindow } from './decide-ahead.ts'
import type { Limits } from './options.ts'

const NOT_PARSED: unique symbol = Symbol('not parsed')

/** Has a client go on; it acknowledges the message unless it is given an error, early ones with the code it is given. */
export type Continue = (given?: Error | number) => void

/**
 * How far a message is: `due` is enacted as soon as it is decided. The others are of QoS 2 on MQTT 5, before their PUBREL: `early`
 * is decided before its PUBREC, `parked` waits in the queue of a rule, `decided` is enacted at its PUBREL, `done` was enacted.
 */
export type Stage = 'due' | 'early' | 'parked' | 'decided' | 'done'

/**
 * A PUBLISH that was received, as the gate sees it, with all its enactment needs, and what the handler is told. The only
 * object a message costs; what the packet knows is read there. (`declare`, as fields that are defined first and assigned then cost twice.)
 */
export class ReceivedMessage implements Message, Limits {
  declare readonly topic: string
  declare readonly sender: Sender
  declare readonly packet: PublishPacket
  /** What was decided, once it was. */
  declare decision: Decision
  declare private readonly gate: Gate
  /** Which connection it came on. */
  declare connection: number
  /** Has the client go on; undefined once the message is acknowledged. */
  declare continueReading: Continue | undefined
  /** The client has gone on without it: it is acknowledged apart. */
  declare isAhead: boolean
  /** Among whom it waits to be acknowledged, and with what, once it is done. */
  declare ackWindow: AckWindow | undefined
  declare reasonCode: number | undefined
  /** What the gate has answered already. */
  declare answer: MaybePromise<Decision> | undefined
  declare stage: Stage
  declare private parsed: unknown

  constructor(
    gate: Gate,
    sender: Sender,
    topic: string,
    packet: PublishPacket,
    connection: number,
    continueReading: Continue,
    stage: Stage,
  ) {
    this.gate = gate
    this.decision = PASSED
    this.topic = topic
    this.sender = sender
    this.packet = packet
    this.connection = connection
    this.continueReading = continueReading
    this.stage = stage
    this.isAhead = false
    this.ackWindow = undefined
    this.reasonCode = undefined
    this.answer = undefined
    this.parsed = NOT_PARSED
  }

  get on(): Action {
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

  get protocol(): 'mqtt' {
    return 'mqtt'
  }

  /** The user properties of MQTT 5. */
  get headers(): Headers | undefined {
    return this.packet.properties?.userProperties
  }

  get fields(): Readonly<Record<string, string>> {
    const { rule } = this.decision
    return lowerCaseFields(
      rateLimitFields(this.decision, rule === undefined ? undefined : this.gate.ruleOf(rule)),
    )
  }

  /** The payload as JSON, parsed once; undefined where it is none or larger than the bound. Never throws. */
  payload(): unknown {
    if (this.parsed === NOT_PARSED) this.parsed = parse(this.packet.payload, this.size)
    return this.parsed
  }

  bytes(): Uint8Array {
    const { payload } = this.packet
    return typeof payload === 'string' ? Buffer.from(payload) : payload
  }

  /** The client asks for it again, as at the next step of QoS 2 or on a new connection. */
  resume(connection: number, continueReading: Continue): void {
    this.connection = connection
    this.continueReading = continueReading
    this.isAhead = false
    this.ackWindow = undefined
  }

  /** Makes the payload its own: MQTT.js cuts it out of the chunk it came in, which a held message would pin. */
  own(): void {
    const { payload } = this.packet
    if (typeof payload === 'string' || payload.buffer.byteLength < 2 * payload.length) return
    // Not of Buffer's pool, which would be pinned as well.
    const owned = Buffer.allocUnsafeSlow(payload.length)
    payload.copy(owned)
    this.packet.payload = owned
  }
}

function parse(payload: string | Buffer, sizeBytes: number): unknown {
  if (sizeBytes === 0 || sizeBytes > MAX_SIZES.parsedPayloadBytes) return undefined
  try {
    return JSON.parse(payload.toString())
  } catch {
    return undefined
  }
}
