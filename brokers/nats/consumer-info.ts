import type { ConsumerFacts } from './client.ts'
import type { JetStreamMessageProcessorOptions } from './jetstream-message-processor.ts'
import type { Settings } from './options.ts'

const NANOS_PER_MS = 1_000_000

/** What a consumer says of itself; undefined where it says nothing. */
export async function readConsumerInfo(consumer: {
  info?(cached?: boolean): Promise<ConsumerFacts>
  consumerInfo?(): Promise<ConsumerFacts>
}): Promise<ConsumerFacts | undefined> {
  try {
    // A push subscription of `nats` 2 has an `info` too, which is something else.
    return await (consumer.consumerInfo?.() ?? consumer.info?.(true))
  } catch {
    // One that was only bound may not be asked: then the options hold.
    return undefined
  }
}

/** How messages of such a consumer are taken. */
export function processorOptions(
  facts: ConsumerFacts | undefined,
  settings: Settings,
): JetStreamMessageProcessorOptions {
  const { ack_policy: policy = 'explicit', ack_wait, backoff, max_deliver = -1 } = facts?.config ?? {}
  const { max_ack_pending = -1 } = facts?.config ?? {}
  // With a backoff the server waits as long as that says, delivery by delivery.
  const waits = backoff?.length ? backoff : ack_wait ? [ack_wait] : [settings.ackWaitMs * NANOS_PER_MS]
  return {
    isOneConsumer: facts !== undefined,
    ackWaitMs: Math.min(...waits) / NANOS_PER_MS,
    maxDeliver: max_deliver > 0 ? max_deliver : Number.POSITIVE_INFINITY,
    maxAckPending: max_ack_pending > 0 ? max_ack_pending : Number.POSITIVE_INFINITY,
    acknowledged: policy !== 'none',
    acks: settings.ack === 'auto',
  }
}
