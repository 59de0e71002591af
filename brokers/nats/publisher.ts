import { policyError } from '../../src/core/errors.ts'
import { checkOptionNames, type OptionNames } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/index.ts'
import { createPublisher, type PublishLimits } from '../../src/publish/create-publisher.ts'
import { PUBLISHER_OPTIONS, type PublisherOptions, type PublishRate } from '../../src/publish/options.ts'
import { OutgoingMessage } from '../../src/publish/outgoing.ts'
import { parseQueueParams, type QueueParams } from '../../src/publish/queue-options.ts'
import type { Published } from '../../src/publish/types.ts'
import { findPublishProblem, findSizeProblem, type NatsPublishOptions } from './check-publish.ts'
import { type MakeHeaders, readHeaders } from './headers.ts'
import { NatsTransport, type PublishingConnection, type PublishingJetStream } from './transport.ts'

/** How `limitPublishes` behaves; see also {@link PublisherOptions}. */
export interface NatsPublisherOptions extends PublisherOptions {
  /** Publishes by JetStream: `sent` then says that the stream has stored it. Default: core NATS. */
  readonly jetstream?: PublishingJetStream | undefined
  /**
   * Most messages under way: not flushed, or not acknowledged by JetStream. Default: 512 and 64.
   */
  readonly window?: number | undefined
  /** `headers` of the client in use: without it nothing that a rule degrades is marked. */
  readonly headers?: MakeHeaders | undefined
}

const OPTIONS: OptionNames<NatsPublisherOptions> = {
  ...PUBLISHER_OPTIONS,
  jetstream: true,
  window: true,
  headers: true,
}

/** Publishes at a rate. */
export interface NatsPublisher extends PublishLimits {
  /** Publishes when it may go. Never throws or rejects: what cannot be sent, or has no valid priority, has `failed`. */
  publish(
    subject: string,
    payload?: Uint8Array | string,
    options?: NatsPublishOptions & QueueParams,
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
  checkOptionNames(options, OPTIONS)
  const window = options.window ?? (options.jetstream === undefined ? FLUSH_WINDOW : ACK_WINDOW)
  if (!(Number.isSafeInteger(window) && window >= 1))
    throw policyError('window', `${window} is not a whole number from 1`, 'leave it out for its default')
  const transport = new NatsTransport(connection, options.jetstream, window, options.headers)
  const parts = createPublisher(limits, 'nats', options, {}, transport)
  transport.gate = parts.gate
  const { publisher, sender } = parts
  const unfollow = follow(connection, {
    connected: () => {
      transport.connected(true)
      publisher.pump()
    },
    disconnected: () => {
      transport.connected(false)
      publisher.disconnected()
    },
    closed: () => publisher.clientEnded(),
  })

  return {
    async [Symbol.asyncDispose]() {
      this.close()
    },
    publish: (subject, payload = '', options) => {
      const { priority, latest, signal, ...sent } = options ?? {}
      const wanted = parseQueueParams({ priority, latest, signal })
      if (wanted instanceof Error) return publisher.refuse(wanted)
      const flaw = findPublishProblem(subject, payload, sent)
      if (flaw !== undefined) return publisher.refuse(flaw)
      const { headers } = sent
      const message = new OutgoingMessage({
        ...{ protocol: 'nats' as const, topic: subject, sender, body: payload },
        ...(headers && { headers: readHeaders({ headers } as Parameters<typeof readHeaders>[0]) }),
      })
      const tooLarge = findSizeProblem(message, connection.info?.max_payload)
      return tooLarge === undefined ? publisher.publish(message, sent, wanted) : publisher.refuse(tooLarge)
    },
    flush: withinMs => publisher.flush(withinMs),
    stats: () => publisher.stats(),
    close: () => {
      parts.close()
      publisher.whenIdle(unfollow)
    },
  }
}

interface Followed {
  connected(): void
  disconnected(): void
  closed(): void
}

/** Follows what becomes of a connection. The returned function ends that. */
function follow(connection: PublishingConnection, followed: Followed): () => void {
  const statuses = connection.status()[Symbol.asyncIterator]()
  let following = true
  const next = async (): Promise<void> => {
    while (following) {
      const { done, value } = await statuses.next()
      if (done || !following) return
      if (value.type === 'disconnect') followed.disconnected()
      else if (value.type === 'reconnect') followed.connected()
    }
  }
  const closed = (): void => {
    if (following) followed.closed()
  }
  next().catch(() => followed.disconnected())
  connection.closed?.().then(closed, closed)
  return () => {
    following = false
    void statuses.return?.()
  }
}
