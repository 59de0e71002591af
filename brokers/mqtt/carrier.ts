import type { Decision } from '../../src/decision.ts'
import type { Gate } from '../../src/index.ts'
import type { Message } from '../../src/message.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import type { OutgoingMessage } from '../../src/publish/outgoing.ts'
import type { Carrier, SendFailure } from '../../src/publish/published.ts'
import { type MqttClient, optionsOf, type PublishOptions } from './client.ts'
import { inFlightFor, WINDOW } from './window.ts'

/** Quota exceeded: the reason code of PUBACK and PUBREC. */
const QUOTA_EXCEEDED = 0x97

/** Hands messages to an MQTT.js client, no more at once than the broker and the socket take. */
export class MqttCarrier implements Carrier<PublishOptions> {
  /** Of the rules that degrade. */
  gate: Gate | undefined
  readonly #client: MqttClient
  readonly #window: number
  readonly #wished: number | undefined
  #ready: boolean
  #inFlight = 0
  /** QoS 0 that is written and not out: after a connection has gone the client says no more of it. */
  readonly #written = new Set<(error: Error) => void>()

  constructor(client: MqttClient, options: { readonly window?: number; readonly maxInFlight?: number }) {
    this.#client = client
    this.#window = options.window ?? WINDOW
    this.#wished = options.maxInFlight
    this.#ready = client.connected
  }

  /** The client says so only when it has sent again what was under way. */
  connected(): void {
    this.#ready = true
  }

  disconnected(): void {
    this.#ready = false
    for (const settle of [...this.#written]) settle(new Error('the connection closed before it was written'))
  }

  isReady(): boolean {
    return this.#ready && this.#client.connected
  }

  hasRoom({ qos }: Message): boolean {
    if (qos === 0) return this.#written.size < this.#window
    const { receiveMaximum } = this.#client.serverProperties ?? {}
    return this.#inFlight < inFlightFor(optionsOf(this.#client).protocolVersion, receiveMaximum, this.#wished)
  }

  send(
    message: Message,
    cargo: PublishOptions,
    decision: Decision,
    settle: (failure?: SendFailure) => void,
  ): void {
    const { topic, body } = message as OutgoingMessage
    let payload = body as string | Buffer
    let options = cargo
    const plan =
      decision.outcome === 'degrade' ? this.gate?.ruleOf(decision.rule ?? '')?.exceeded.degrade : undefined
    if (plan !== undefined) {
      const lesser = degradeMessage(plan, message, decision)
      if (lesser.payload !== undefined) payload = Buffer.from(lesser.payload)
      const userProperties = { ...message.headers, ...lesser.headers }
      const properties = { ...cargo.properties, userProperties }
      options = { ...cargo, qos: lesser.qos, retain: lesser.retain, properties }
    }
    const acknowledged = (options.qos ?? 0) > 0
    let settled = false
    const done = (error?: Error | null): void => {
      if (settled) return
      settled = true
      if (acknowledged) this.#inFlight--
      else this.#written.delete(done)
      settle(error ? { error, slowDown: (error as { code?: unknown }).code === QUOTA_EXCEEDED } : undefined)
    }
    if (acknowledged) this.#inFlight++
    else this.#written.add(done)
    try {
      this.#client.publish(topic, payload, options, done)
    } catch (error) {
      done(error as Error)
    }
  }
}
