export type {
  JetStreamConsumer,
  JetStreamMessage,
  NatsConnection,
  NatsHeaders,
  NatsMessage,
  NatsPublisher,
  PullConsumer,
} from './client.ts'
export type { Handler } from './course.ts'
export {
  type DrainOptions,
  limitNats,
  type NatsLimits,
  type NatsStats,
  type PullOptions,
} from './limit-nats.ts'
export type { MessageLimits } from './limits.ts'
export type { LimitNatsOptions } from './options.ts'
export type { Identify } from './senders.ts'
export type { Intake, SubscribeOptions } from './subscription.ts'
