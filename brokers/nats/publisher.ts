import { policyError } from '../../src/errors.ts'
import type { Gate } from '../../src/index.ts'
import { assemble, type PublishLimits } from '../../src/publish/limited.ts'
import type { PublisherOptions, PublishRate } from '../../src/publish/options.ts'
import { OutgoingMessage } from '../../src/publish/outgoing.ts'
import type { Published } from '../../src/publish/published.ts'
import { type QueueWishes, readWishes } from '../../src/publish/wanted.ts'
import { type MakeHeaders, readHeaders } from './headers.ts'
import {
  NatsCarrier,
  type NatsPublishOptions,
  type PublishingConnection,
  type PublishingJetStream,
} from './publisher-carrier.ts'

/** How `limitPublishes` behaves; see also {@link PublisherOptions}. */
export interface NatsPublisherOptions extends PublisherOptions {
  /** Publishes by JetStream: `sent` then says that the stream has stored it. Default: core NATS. */
  readonly jetstream?: PublishingJetStream
  /**
   * Most messages under way: not flushed, or not acknowledged by JetStream. Default: 512 and 64.
   */
  readonly window?: number
  /** `headers` of the client in use: without it nothing that a rule degrades is marked. */
  readonly headers?: MakeHeaders
}

/** Publishes at a rate. */
export interface NatsPublisher extends PublishLimits {
  /** Publishes when it may go. Never rejects: the promise tells what became of the message. Throws PolicyError for a priority that is none. */
  publish(
    subject: string,
    payload?: Uint8Array | string,
    options?: NatsPublishOptions & QueueWishes,
  ): Promise<Published>
}

const FLUSH_WINDOW = 512
const ACK_WINDOW = 64

/**
 * Limits what a NATS client publishes, of `nats` version 2 or `@nats-io/*` version 3, by a gate's rules `on: publish` or
 * a simple rate. What may not go yet waits here, in a bounded queue, also while there is no connection: the client would keep it
 * in its own and send it past any limit. What JetStream refuses for its rate or its limits is sent again, more slowly.
 *
 * `throttle`, `queue`, `latest` and `retry` wait; `drop` and `reject` do not. Throws UnsupportedError for rules that
 * redirect or disconnect, PolicyError for an option that cannot be meant.
 */
export function limitPublishes(
  connection: PublishingConnection,
  limits: Gate | PublishRate,
  options: NatsPublisherOptions = {},
): NatsPublisher {
  const window = options.window ?? (options.jetstream === undefined ? FLUSH_WINDOW : ACK_WINDOW)
  if (!(Number.isSafeInteger(window) && window >= 1))
    throw policyError('window', `${window} is not a whole number from 1`, 'leave it out for its default')
  const carrier = new NatsCarrier(connection, options.jetstream, window, options.headers)
  const parts = assemble(limits, 'nats', options, {}, carrier)
  carrier.gate = parts.gate
  const { publisher, sender } = parts
  const unfollow = follow(connection, ready => {
    carrier.connected(ready)
    if (ready) publisher.pump()
  })

  return {
    publish: (subject, payload = '', { priority, latest, ...sent } = {}) => {
      const wanted = readWishes({ ...(priority !== undefined && { priority }), ...(latest && { latest }) })
      const { headers } = sent
      const message = new OutgoingMessage({
        ...{ protocol: 'nats' as const, topic: subject, sender, body: payload },
        ...(headers && { headers: readHeaders({ headers } as Parameters<typeof readHeaders>[0]) }),
      })
      return publisher.publish(message, sent, wanted)
    },
    flush: withinMs => publisher.flush(withinMs),
    stats: () => publisher.stats(),
    close: () => {
      unfollow()
      parts.close()
    },
  }
}

/** Tells when the connection goes and comes; the returned function ends it. */
function follow(connection: PublishingConnection, tell: (ready: boolean) => void): () => void {
  const statuses = connection.status()[Symbol.asyncIterator]()
  let following = true
  const next = async (): Promise<void> => {
    while (following) {
      const { done, value } = await statuses.next()
      if (done || !following) return
      if (value.type === 'disconnect') tell(false)
      else if (value.type === 'reconnect') tell(true)
    }
  }
  next().catch(() => tell(false))
  return () => {
    following = false
    void statuses.return?.()
  }
}
