export type { PublisherControls } from '../../src/publish/create-publisher.ts'
export type { PublisherOptions, PublishRate } from '../../src/publish/options.ts'
export type { Priority, QueuedPublishOptions } from '../../src/publish/per-message-publish-options.ts'
export type { Published, PublisherStats } from '../../src/publish/types.ts'
export type { Handler } from './base-message-processor.ts'
export type {
  JetStreamConsumer,
  JetStreamMessage,
  NatsConnection,
  NatsHeaders,
  NatsMessage,
  NatsPublishOptions,
  NatsPublishTarget,
  PullConsumer,
} from './client-types.ts'
export type { ConsumerStatus } from './consumer-status-reporter.ts'
export type { NatsSubscribeOptions } from './core-subscription.ts'
export type { ConsumerSource, PullOptions } from './jetstream-source.ts'
export {
  type DrainOptions,
  limitNats,
  type NatsLimiter,
  type NatsStats,
} from './limit-nats.ts'
export { limitPublishes, type NatsPublisher, type NatsPublisherOptions } from './limit-publishes.ts'
export type { MessageLimits } from './message.ts'
export type { Identify } from './message-sender-cache.ts'
export type { MessageSource } from './message-source.ts'
export type { LimitNatsOptions } from './options.ts'
export type { PublishingConnection, PublishingJetStream } from './publish-transport.ts'
