export type { PublishLimits } from '../../src/publish/create-publisher.ts'
export type { PublisherOptions, PublishRate } from '../../src/publish/options.ts'
export type { Priority, QueueParams } from '../../src/publish/queue-options.ts'
export type { Published, PublisherStats } from '../../src/publish/types.ts'
export type { NatsPublishOptions } from './check-publish.ts'
export type {
  JetStreamConsumer,
  JetStreamMessage,
  NatsConnection,
  NatsHeaders,
  NatsMessage,
  NatsPublishTarget,
  PullConsumer,
} from './client.ts'
export type { ConsumerSource, PullOptions } from './consume.ts'
export type { ConsumerStatus } from './consumer-watch.ts'
export {
  type DrainOptions,
  limitNats,
  type NatsLimits,
  type NatsStats,
} from './limit-nats.ts'
export type { MessageLimits } from './message-limits.ts'
export type { Handler } from './message-processor.ts'
export type { LimitNatsOptions } from './options.ts'
export { limitPublishes, type NatsPublisher, type NatsPublisherOptions } from './publisher.ts'
export type { Identify } from './sender-cache.ts'
export type { MessageSource, SubscribeOptions } from './subscription.ts'
export type { PublishingConnection, PublishingJetStream } from './transport.ts'
