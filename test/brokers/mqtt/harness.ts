import type { MqttJsPublishPacket } from '../../../brokers/mqtt/client-types.ts'
import {
  type ConsumerLimiter,
  type ConsumerOptions,
  limitConsumer,
  type MessageLimits,
} from '../../../brokers/mqtt/index.ts'
import { Gate, type GateOptions, type Middleware } from '../../../src/index.ts'
import { startMosquitto } from '../../support/mosquitto.ts'
import { connectClient, type TestClient } from '../../support/mqtt-client.ts'
import { publicClient } from './public-api.ts'

export interface Handled {
  readonly topic: string
  readonly text: string
  readonly packet: MqttJsPublishPacket
  readonly limits: MessageLimits
}

export interface Scene extends AsyncDisposable {
  readonly port: number
  readonly gate: Gate
  /** Client with the limiter. */
  readonly consumer: TestClient
  readonly sender: TestClient
  readonly limits: ConsumerLimiter
  /** Messages that the handler received, in order. */
  readonly handled: readonly Handled[]
  /** Publishes `count` messages and waits for their acknowledgements. */
  publish(count: number, options?: SceneSending): Promise<void>
}

export interface SceneSending {
  readonly topic?: string
  readonly qos?: 0 | 1 | 2
  readonly text?: (index: number) => string
}

export interface SceneOptions extends Partial<ConsumerOptions> {
  readonly version?: 4 | 5
  readonly qos?: 0 | 1 | 2
  /** True if the limiter sees only the public API of its client. */
  readonly isPublic?: boolean
  readonly rules: readonly Middleware[]
  readonly clock?: GateOptions['clock']
  readonly client?: Readonly<Record<string, unknown>>
  readonly config?: readonly string[]
  /** Topic filter of the consumer. Default: `in/#`. */
  readonly filter?: string
}

const MAX_CONCURRENT = 16

/** Starts a Mosquitto, a consumer with a limiter and a sender. */
export async function openScene(options: SceneOptions): Promise<Scene> {
  const {
    version = 5,
    qos = 1,
    rules,
    clock,
    client = {},
    config,
    filter = 'in/#',
    isPublic,
    ...given
  } = options
  const broker = await startMosquitto({ ...(config && { config }) })
  const consumer = await connectClient({
    port: broker.port,
    protocolVersion: version,
    clientId: 'consumer',
    ...client,
  })
  const sender = await connectClient({ port: broker.port, protocolVersion: version, clientId: 'sender' })
  const gate = new Gate({ ...(clock && { clock }) })
  for (const rule of rules) gate.use(rule)
  const handled: Handled[] = []
  const limits = limitConsumer(isPublic ? publicClient(consumer.client) : consumer.client, gate, {
    ...given,
    handler: (topic, payload, packet, its) => {
      handled.push({ topic, text: payload.toString(), packet, limits: its })
      return given.handler?.(topic, payload, packet, its)
    },
  })
  await consumer.subscribe(filter, qos)
  return {
    port: broker.port,
    gate,
    consumer,
    sender,
    limits,
    handled,
    publish: async (count, sending = {}) => {
      const { topic = 'in/a', qos: sentQos = qos, text = String } = sending
      // MQTT.js ignores the Receive Maximum of the broker, so this limits the unacknowledged messages.
      for (let sent = 0; sent < count; sent += MAX_CONCURRENT) {
        const batch = Array.from(
          { length: Math.min(MAX_CONCURRENT, count - sent) },
          (_, index) => sent + index,
        )
        await Promise.all(batch.map(index => sender.publish(topic, text(index), { qos: sentQos })))
      }
    },
    [Symbol.asyncDispose]: async () => {
      limits.close()
      await Promise.all([consumer.close(), sender.close()])
      await gate.close()
      await broker[Symbol.asyncDispose]()
    },
  }
}
