/** Entry point `topicgate/nats-kv`: limits in NATS JetStream. */

export { NatsStreamStore, type NatsStreamStoreOptions } from '../nats-stream/store.ts'
export type { NatsConnection, NatsReply } from './connection-wrapper.ts'
export {
  type OpenNatsKvOptions,
  type OpenNatsStreamOptions,
  openNatsKv,
  openNatsStream,
  type ReachOptions,
} from './open.ts'
export { type NatsKvHealth, NatsKvStore, type NatsKvStoreOptions } from './store.ts'
