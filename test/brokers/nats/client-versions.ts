import * as v3js from '@nats-io/jetstream'
import * as v3 from '@nats-io/transport-node'
import * as v2 from 'nats'
import type {
  JetStreamMessage,
  NatsConnection,
  NatsHeaders,
  NatsMessage,
  PullConsumer,
} from '../../../brokers/nats/index.ts'

/** A connection with the further methods that tests use. */
export interface TestConnection extends NatsConnection {
  request(
    subject: string,
    payload?: string | Uint8Array,
    options?: { timeout: number; headers?: NatsHeaders },
  ): Promise<NatsMessage & { readonly headers?: NatsHeaders & { get(name: string): string } }>
  flush(): Promise<void>
  drain(): Promise<void>
  close(): Promise<void>
  closed(): Promise<unknown>
  isClosed(): boolean
}

export interface ConsumerSettings {
  readonly filter_subject?: string
  readonly ack_policy?: string
  /** In milliseconds. */
  readonly ackWaitMs?: number
  readonly backoffMs?: readonly number[]
  readonly max_deliver?: number
  readonly max_ack_pending?: number
}

export interface StreamState {
  readonly messages: number
}

export interface ConsumerState {
  readonly num_ack_pending: number
  readonly num_pending: number
  readonly num_redelivered: number
  readonly delivered: { readonly consumer_seq: number }
}

export interface JetStreamAccess {
  addStream(name: string, subjects: readonly string[]): Promise<void>
  addConsumer(stream: string, name: string, settings?: ConsumerSettings): Promise<PullConsumer>
  deleteConsumer(stream: string, name: string): Promise<void>
  bindConsumer(stream: string, name: string): Promise<PullConsumer>
  ordered(stream: string): Promise<PullConsumer>
  publish(subject: string, payload?: string | Uint8Array): Promise<unknown>
  state(stream: string, consumer: string): Promise<ConsumerState>
  streamState(stream: string): Promise<StreamState>
}

/** One generation of the client. */
export interface Generation {
  readonly name: string
  connect(url: string, options?: object): Promise<TestConnection>
  headers(): NatsHeaders
  jetstream(nc: TestConnection): Promise<JetStreamAccess>
}

/** Members of the JetStream manager that tests use, the same in both generations. */
interface Manager {
  streams: {
    add(config: object): Promise<unknown>
    info(stream: string): Promise<{ state: { messages: number } }>
  }
  consumers: {
    add(stream: string, config: object): Promise<unknown>
    info(stream: string, consumer: string): Promise<ConsumerState>
    delete(stream: string, consumer: string): Promise<unknown>
  }
}
interface Client {
  publish(subject: string, payload?: string | Uint8Array): Promise<unknown>
  consumers: { get(stream: string, consumer?: object | string): Promise<unknown> }
}

function access(manager: Manager, client: Client): JetStreamAccess {
  return {
    async addStream(name, subjects) {
      await manager.streams.add({ name, subjects, storage: 'file' })
    },
    async addConsumer(stream, name, { ackWaitMs, backoffMs, ...rest } = {}) {
      const nanos = (ms: number): number => ms * 1_000_000
      await manager.consumers.add(stream, {
        durable_name: name,
        ack_policy: 'explicit',
        ...(ackWaitMs === undefined ? {} : { ack_wait: nanos(ackWaitMs) }),
        ...(backoffMs === undefined ? {} : { backoff: backoffMs.map(nanos) }),
        max_ack_pending: 100_000,
        ...rest,
      })
      return (await client.consumers.get(stream, name)) as PullConsumer
    },
    deleteConsumer: async (stream, name) => {
      await manager.consumers.delete(stream, name)
    },
    bindConsumer: async (stream, name) => (await client.consumers.get(stream, name)) as PullConsumer,
    ordered: async stream => (await client.consumers.get(stream)) as PullConsumer,
    publish: (subject, payload) => client.publish(subject, payload),
    state: (stream, consumer) => manager.consumers.info(stream, consumer),
    streamState: async stream => (await manager.streams.info(stream)).state,
  }
}

export const GENERATIONS: readonly Generation[] = [
  {
    name: 'nats 2',
    connect: async (url, options) =>
      (await v2.connect({ servers: url, ...options })) as unknown as TestConnection,
    headers: () => v2.headers(),
    jetstream: async nc => {
      const connection = nc as unknown as v2.NatsConnection
      const client = connection.jetstream()
      return access(
        (await connection.jetstreamManager()) as unknown as Manager,
        {
          publish: (subject, payload) =>
            client.publish(
              subject,
              typeof payload === 'string' ? new TextEncoder().encode(payload) : payload,
            ),
          consumers: client.consumers,
        } as Client,
      )
    },
  },
  {
    name: '@nats-io 3',
    connect: async (url, options) =>
      (await v3.connect({ servers: url, ...options })) as unknown as TestConnection,
    headers: () => v3.headers(),
    jetstream: async nc => {
      const connection = nc as unknown as v3.NatsConnection
      return access(
        (await v3js.jetstreamManager(connection)) as unknown as Manager,
        v3js.jetstream(connection) as unknown as Client,
      )
    },
  },
]

export type { JetStreamMessage }
