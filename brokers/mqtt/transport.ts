import type { Decision } from '../../src/core/decision.ts'
import type { Message } from '../../src/core/message.ts'
import type { Gate } from '../../src/index.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import type { OutgoingMessage } from '../../src/publish/outgoing.ts'
import type { SendFailure, Transport } from '../../src/publish/types.ts'
import { inFlightFor, WINDOW } from './ack-window.ts'
import { findSizeProblem } from './check-publish.ts'
import { type MqttClient, optionsOf, type PublishOptions } from './client.ts'

/** Quota exceeded: the reason code of PUBACK and PUBREC. */
const QUOTA_EXCEEDED = 0x97

/** Hands messages to an MQTT.js client, no more at once than the broker and the socket take. */
export class MqttTransport implements Transport<PublishOptions> {
  /** Of the rules that degrade. */
  gate: Gate | undefined
  readonly #client: MqttClient
  readonly #window: number
  readonly #wished: number | undefined
  #ready: boolean
  /** QoS 0 that is written and not out: after a connection has gone the client says no more of it. */
  readonly #written = new Set<(error: Error) => void>()
  /** QoS 1 and 2 without an acknowledgement: the client says no more of it once it is ended. */
  readonly #unacknowledged = new Set<(error: Error) => void>()
  #ended = false

  constructor(client: MqttClient, options: { readonly window?: number; readonly maxInFlight?: number }) {
    this.#client = client
    this.#window = options.window ?? WINDOW
    this.#wished = options.maxInFlight
    this.#ready = client.connected
  }

  /** The client says so only when it has sent again what was under way. */
  connected(): void {
    this.#ready = true
    this.#ended = false
  }

  /** The client was ended, or is told to reconnect after that. */
  ended(isSo: boolean): void {
    this.#ended = isSo
  }

  disconnected(): void {
    this.#ready = false
    for (const settle of [...this.#written]) settle(new Error('the connection closed before it was written'))
  }

  isReady(): boolean {
    return this.#ready && this.#client.connected && !this.#client.disconnecting
  }

  isEnded(): boolean {
    return this.#ended
  }

  failAll(error: Error): void {
    for (const settle of [...this.#written, ...this.#unacknowledged]) settle(error)
  }

  hasRoom({ qos }: Message): boolean {
    if (qos === 0) return this.#written.size < this.#window
    const { receiveMaximum } = this.#client.serverProperties ?? {}
    return (
      this.#unacknowledged.size <
      inFlightFor(optionsOf(this.#client).protocolVersion, receiveMaximum, this.#wished)
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
      const lesser = degradeMessage(plan, message, decision)
      if (lesser.payload !== undefined) payload = Buffer.from(lesser.payload)
      const userProperties = { ...message.headers, ...lesser.headers }
      const properties = { ...clientData.properties, userProperties }
      options = { ...clientData, qos: lesser.qos, retain: lesser.retain, properties }
    }
    const underWay = (options.qos ?? 0) > 0 ? this.#unacknowledged : this.#written
    let settled = false
    const done = (error?: Error | null): void => {
      if (settled) return
      settled = true
      underWay.delete(done)
      settle(error ? { error, slowDown: (error as { code?: unknown }).code === QUOTA_EXCEEDED } : undefined)
    }
    const flaw = findSizeProblem(
      message,
      options.properties,
      this.#client.serverProperties?.maximumPacketSize,
    )
    underWay.add(done)
    if (flaw !== undefined) {
      done(flaw)
      return
    }
    try {
      this.#client.publish(topic, payload, options, done)
    } catch (error) {
      done(error as Error)
    }
  }
}
