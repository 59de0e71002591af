export type { MqttClient, PublishPacket, ReceivingClient } from './client.ts'
export { type ConsumerLimits, type ConsumerStats, limitConsumer } from './limit-consumer.ts'
export type { ConsumerOptions, Handler, Identify, Limits } from './options.ts'
