import { connect, type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt'
import { until } from './wait.ts'

export interface ReceivedMessage {
  readonly topic: string
  readonly text: string
  readonly packet: IPublishPacket
}

/** An MQTT.js client that is connected and keeps what it receives. */
export interface TestClient extends AsyncDisposable {
  readonly client: MqttClient
  readonly connack: IConnackPacket
  /** In order of arrival. */
  readonly messages: readonly ReceivedMessage[]
  /** Waits until that many messages are there. */
  received(count: number, timeoutMs?: number): Promise<readonly ReceivedMessage[]>
  /** Waits for the broker's answer to a subscription; rejects where it is refused. */
  subscribe(pattern: string, qos?: 0 | 1 | 2): Promise<void>
  /** Waits as long as the quality of service says: at 1 and 2 for the broker's acknowledgement. */
  publish(
    topic: string,
    payload: string | Buffer,
    options?: Parameters<MqttClient['publishAsync']>[2],
  ): Promise<void>
  close(): Promise<void>
}

/** Connects and waits for the CONNACK; rejects where the broker refuses. Speaks MQTT 3.1.1 unless told otherwise. */
export async function connectClient(
  options: IClientOptions & { readonly port: number },
): Promise<TestClient> {
  const client = connect({ host: '127.0.0.1', reconnectPeriod: 0, connectTimeout: 10_000, ...options })
  const messages: ReceivedMessage[] = []
  // Listens before the CONNACK: a persistent session delivers right behind it.
  client.on('message', (topic, payload, packet) => messages.push({ topic, text: payload.toString(), packet }))
  const connack = await connected(client)
  // A broker that disconnects is for the test to judge; without a listener it would end the process.
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
      const refused = granted.find(effect => effect.qos >= 128)
      if (refused) throw new Error(`the subscription to ${refused.topic} was refused with ${refused.qos}`)
    },
    publish: async (topic, payload, publishOptions = {}) => {
      await client.publishAsync(topic, payload, publishOptions)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function connected(client: MqttClient): Promise<IConnackPacket> {
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
