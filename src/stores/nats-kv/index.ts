/** Entry point `topicgate/nats-kv`: limits in NATS JetStream. */
export type { NatsConnection, NatsReply } from './connection-wrapper.ts'
export { NatsStreamStore, type NatsStreamStoreOptions } from './jetstream-sliding-log-store.ts'
export {
  type OpenNatsKvOptions,
  type OpenNatsStreamOptions,
  openNatsKv,
  openNatsStream,
  type ReachOptions,
} from './open.ts'
export { type NatsKvHealth, NatsKvStore, type NatsKvStoreOptions } from './store.ts'
