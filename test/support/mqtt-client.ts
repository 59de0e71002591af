import { connect, type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt'
import { until } from './wait.ts'

export interface ReceivedMessage {
  readonly topic: string
  readonly text: string
  readonly packet: IPublishPacket
}

/** A connected MQTT.js client that records the messages it receives. */
export interface TestClient extends AsyncDisposable {
  readonly client: MqttClient
  readonly connack: IConnackPacket
  /** Received messages, in order of arrival. */
  readonly messages: readonly ReceivedMessage[]
  /** Waits until at least `count` messages have arrived. Default of `timeoutMs`: 10,000. */
  received(count: number, timeoutMs?: number): Promise<readonly ReceivedMessage[]>
  /** Subscribes and waits for the SUBACK. Rejects if the broker refuses. Default of `qos`: 0. */
  subscribe(pattern: string, qos?: 0 | 1 | 2): Promise<void>
  /** Publishes. At QoS 1 and 2 it waits for the broker's acknowledgement. */
  publish(
    topic: string,
    payload: string | Buffer,
    options?: Parameters<MqttClient['publishAsync']>[2],
  ): Promise<void>
  close(): Promise<void>
}

/** Connects and waits for the CONNACK. Rejects if the broker refuses. Default: MQTT 3.1.1 without reconnects. */
export async function connectClient(
  options: IClientOptions & { readonly port: number },
): Promise<TestClient> {
  const client = connect({ host: '127.0.0.1', reconnectPeriod: 0, connectTimeout: 10_000, ...options })
  const messages: ReceivedMessage[] = []
  // Listens before the CONNACK, because a persistent session delivers messages right after it.
  client.on('message', (topic, payload, packet) => messages.push({ topic, text: payload.toString(), packet }))
  const connack = await waitForConnack(client)
  // Without a listener, an error after the CONNACK would end the process.
  client.on('error', () => {})
  const close = async (): Promise<void> => {
    await client.endAsync(true)
  }
  return {
    client,
    connack,
    messages,
    received: (count, timeoutMs = 10_000) =>
      until(() => (messages.length >= count ? messages : undefined), {
        timeoutMs,
        what: () => `${count} messages; there are ${messages.length}`,
      }),
    subscribe: async (pattern, qos = 0) => {
      const granted = await client.subscribeAsync(pattern, { qos })
      const refused = granted.find(grant => grant.qos >= 128)
      if (refused) throw new Error(`the subscription to ${refused.topic} was refused with ${refused.qos}`)
    },
    publish: async (topic, payload, publishOptions = {}) => {
      await client.publishAsync(topic, payload, publishOptions)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function waitForConnack(client: MqttClient): Promise<IConnackPacket> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: unknown): void => {
      client.end(true)
      reject(
        cause instanceof Error ? cause : new Error('the broker closed the connection before its CONNACK'),
      )
    }
    const closed = (): void => refuse(undefined)
    client.once('error', refuse)
    client.once('close', closed)
    client.once('connect', connack => {
      client.removeListener('error', refuse)
      client.removeListener('close', closed)
      resolve(connack)
    })
  })
}
