export type { PublishLimits } from '../../src/publish/limited.ts'
export type { PublisherOptions, PublishRate } from '../../src/publish/options.ts'
export type { Published, PublisherStats } from '../../src/publish/published.ts'
export type { Priority, QueueParams } from '../../src/publish/wanted.ts'
export type {
  JetStreamConsumer,
  JetStreamMessage,
  NatsConnection,
  NatsHeaders,
  NatsMessage,
  NatsPublishTarget,
  PullConsumer,
} from './client.ts'
export type { ConsumerStatus } from './consumer-watch.ts'
export type { ConsumerSource, PullOptions } from './consumption.ts'
export type { Handler } from './course.ts'
export {
  type DrainOptions,
  limitNats,
  type NatsLimits,
  type NatsStats,
} from './limit-nats.ts'
export type { MessageLimits } from './limits.ts'
export type { LimitNatsOptions } from './options.ts'
export { limitPublishes, type NatsPublisher, type NatsPublisherOptions } from './publisher.ts'
export type { NatsPublishOptions, PublishingConnection, PublishingJetStream } from './publisher-carrier.ts'
export type { Identify } from './senders.ts'
export type { MessageSource, SubscribeOptions } from './subscription.ts'
