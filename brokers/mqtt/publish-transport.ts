import type { Decision } from '../../src/core/decision.ts'
import type { Message } from '../../src/core/message.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import type { OutgoingMessage } from '../../src/publish/outgoing-message.ts'
import type { PublishTransport, SendFailure } from '../../src/publish/types.ts'
import { clientOptionsOf, type MqttClient, type PublishOptions } from './client-types.ts'
import { findSizeProblem } from './validate-publish.ts'

/** Reason code of PUBACK and PUBREC: quota exceeded. */
const QUOTA_EXCEEDED = 0x97

/** Default window. Publishing at QoS 0 without a window is fourteen times slower. */
const DEFAULT_WINDOW = 64
/** Default for MQTT 3.1.1, which has no Receive Maximum: Mosquitto's limit. Beyond it brokers lose messages. */
const DEFAULT_WINDOW_MQTT_3 = 20

/** Sends messages with an MQTT.js client, at most as many at once as the broker and the socket accept. */
export class MqttPublishTransport implements PublishTransport<PublishOptions> {
  /** Gate whose rules degrade messages. */
  gate: Gate | undefined
  readonly #client: MqttClient
  readonly #window: number
  readonly #requestedInFlight: number | undefined
  #isConnected: boolean
  /** QoS 0 messages that are written but not sent. The client does not report them after a lost connection. */
  readonly #written = new Set<(error: Error) => void>()
  /** QoS 1 and 2 messages without an acknowledgement. The client does not report them after its end. */
  readonly #unacknowledged = new Set<(error: Error) => void>()
  #isEnded = false

  constructor(client: MqttClient, options: { readonly window?: number; readonly maxInFlight?: number }) {
    this.#client = client
    this.#window = options.window ?? DEFAULT_WINDOW
    this.#requestedInFlight = options.maxInFlight
    this.#isConnected = client.connected
  }

  /** Call it on `connect`, which the client emits after it has sent messages in flight again. */
  setConnected(): void {
    this.#isConnected = true
    this.#isEnded = false
  }

  /** Records that the client was ended, or asked to reconnect after that. */
  setEnded(isEnded: boolean): void {
    this.#isEnded = isEnded
  }

  setDisconnected(): void {
    this.#isConnected = false
    for (const settle of [...this.#written]) settle(new Error('the connection closed before it was written'))
  }

  isReady(): boolean {
    return this.#isConnected && this.#client.connected && !this.#client.disconnecting
  }

  isEnded(): boolean {
    return this.#isEnded
  }

  failAll(error: Error): void {
    for (const settle of [...this.#written, ...this.#unacknowledged]) settle(error)
  }

  hasRoom({ qos }: Message): boolean {
    if (qos === 0) return this.#written.size < this.#window
    const { receiveMaximum } = this.#client.serverProperties ?? {}
    return (
      this.#unacknowledged.size <
      maxInFlightFor(clientOptionsOf(this.#client).protocolVersion, receiveMaximum, this.#requestedInFlight)
    )
  }

  send(
    message: Message,
    clientData: PublishOptions,
    decision: Decision,
    settle: (failure?: SendFailure) => void,
  ): void {
    const { topic, body } = message as OutgoingMessage
    let payload = body as string | Buffer
    let options = clientData
    const plan =
      decision.outcome === 'degrade' ? this.gate?.ruleOf(decision.rule ?? '')?.exceeded.degrade : undefined
    if (plan !== undefined) {
      const degraded = degradeMessage(plan, message, decision)
      if (degraded.payload !== undefined) payload = Buffer.from(degraded.payload)
      const userProperties = { ...message.headers, ...degraded.headers }
      const properties = { ...clientData.properties, userProperties }
      options = { ...clientData, qos: degraded.qos, retain: degraded.retain, properties }
    }
    const inFlight = (options.qos ?? 0) > 0 ? this.#unacknowledged : this.#written
    let isSettled = false
    const done = (error?: Error | null): void => {
      if (isSettled) return
      isSettled = true
      inFlight.delete(done)
      settle(error ? { error, slowDown: (error as { code?: unknown }).code === QUOTA_EXCEEDED } : undefined)
    }
    const problem = findSizeProblem(
      message,
      options.properties,
      this.#client.serverProperties?.maximumPacketSize,
    )
    inFlight.add(done)
    if (problem !== undefined) {
      done(problem)
      return
    }
    try {
      this.#client.publish(topic, payload, options, done)
    } catch (error) {
      done(error as Error)
    }
  }
}

/** Returns the most messages of QoS 1 and 2 in flight: the broker's Receive Maximum [MQTT-3.3.4-9], at most `requested`. */
export function maxInFlightFor(
  version: number | undefined,
  receiveMaximum: number | undefined,
  requested: number | undefined,
): number {
  if (version === 5) return Math.min(requested ?? DEFAULT_WINDOW, receiveMaximum ?? 65_535)
  return requested ?? DEFAULT_WINDOW_MQTT_3
}
