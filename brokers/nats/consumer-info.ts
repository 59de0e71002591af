import type { ConsumerInfo } from './client-types.ts'
import type { JetStreamMessageProcessorOptions } from './jetstream-message-processor.ts'
import type { NatsSettings } from './options.ts'

const NANOS_PER_MS = 1_000_000

/** Returns the information about a consumer, or undefined if it is not available. */
export async function readConsumerInfo(consumer: {
  info?(cached?: boolean): Promise<ConsumerInfo>
  consumerInfo?(): Promise<ConsumerInfo>
}): Promise<ConsumerInfo | undefined> {
  try {
    // A push subscription of `nats` 2 has an `info` with another meaning.
    return await (consumer.consumerInfo?.() ?? consumer.info?.(true))
  } catch {
    // A bound consumer may be without permission to ask. The options then apply.
    return undefined
  }
}

/** Returns the processor options for a consumer. */
export function processorOptions(
  info: ConsumerInfo | undefined,
  settings: NatsSettings,
): JetStreamMessageProcessorOptions {
  const { ack_policy: policy = 'explicit', ack_wait, backoff, max_deliver = -1 } = info?.config ?? {}
  const { max_ack_pending = -1 } = info?.config ?? {}
  // With a backoff the server waitsNs as long as its entry for each delivery.
  const waitsNs = backoff?.length ? backoff : ack_wait ? [ack_wait] : [settings.ackWaitMs * NANOS_PER_MS]
  return {
    isOneConsumer: info !== undefined,
    ackWaitMs: Math.min(...waitsNs) / NANOS_PER_MS,
    maxDeliver: max_deliver > 0 ? max_deliver : Number.POSITIVE_INFINITY,
    maxAckPending: max_ack_pending > 0 ? max_ack_pending : Number.POSITIVE_INFINITY,
    isAcknowledged: policy !== 'none',
    acksAutomatically: settings.ack === 'auto',
  }
}
