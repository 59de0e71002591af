import { policyError } from '../../src/core/errors.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { createPublisher, type PublisherControls } from '../../src/publish/create-publisher.ts'
import { PUBLISHER_OPTIONS, type PublisherOptions, type PublishRate } from '../../src/publish/options.ts'
import { OutgoingMessage } from '../../src/publish/outgoing-message.ts'
import {
  parsePublishQueueOptions,
  type QueuedPublishOptions,
} from '../../src/publish/per-message-publish-options.ts'
import type { Published } from '../../src/publish/types.ts'
import { findMessageProblem, wrongTypeError } from '../../src/publish/validate-topic-and-payload.ts'
import type { NatsPublishOptions } from './client-types.ts'
import { type HeadersFactory, readHeaders } from './headers.ts'
import {
  findSizeProblem,
  NatsPublishTransport,
  type PublishingConnection,
  type PublishingJetStream,
} from './publish-transport.ts'

/** Options of `limitPublishes`; see also {@link PublisherOptions}. */
export interface NatsPublisherOptions extends PublisherOptions {
  /** JetStream client to publish with. `sent` then means that the stream has stored the message. Default: core NATS. */
  readonly jetstream?: PublishingJetStream | undefined
  /** Most messages in flight: not flushed, or not acknowledged by JetStream. Default: 512 and 64. */
  readonly window?: number | undefined
  /** `headers` of the client in use. Without it, degraded messages are not marked. */
  readonly headers?: HeadersFactory | undefined
}

const OPTIONS: KnownOptions<NatsPublisherOptions> = {
  ...PUBLISHER_OPTIONS,
  jetstream: true,
  window: true,
  headers: true,
}

/** Publisher that keeps to the limits. */
export interface NatsPublisher extends PublisherControls {
  /** Publishes a message when the limits allow it. Never throws or rejects: an invalid message or option is `failed`. */
  publish(
    subject: string,
    payload?: Uint8Array | string,
    options?: NatsPublishOptions & QueuedPublishOptions,
  ): Promise<Published>
}

const FLUSH_WINDOW = 512
const ACK_WINDOW = 64

/**
 * Limits the messages that a NATS client publishes, of `nats` version 2 or `@nats-io/*` version 3, by the rules of a gate
 * with `on: publish` or by a simple rate. Other messages wait in a bounded queue, also while there is no connection,
 * because the client would buffer them and send them past any limit. Messages that JetStream refuses for its rate or
 * limits are sent again, more slowly.
 *
 * `throttle`, `queue`, `latest` and `retry` wait; `drop` and `reject` do not. Throws UnsupportedError for rules that
 * redirect or disconnect, and PolicyError for an invalid option.
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
  const transport = new NatsPublishTransport(connection, options.jetstream, window, options.headers)
  const parts = createPublisher(limits, 'nats', options, {}, transport)
  transport.gate = parts.gate
  const { publisher, sender } = parts
  const stopWatching = watchConnection(connection, {
    connected: () => {
      transport.setConnected(true)
      publisher.pump()
    },
    disconnected: () => {
      transport.setConnected(false)
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
      const placement = parsePublishQueueOptions({ priority, latest, signal })
      if (placement instanceof Error) return publisher.refuse(placement)
      const problem = findPublishProblem(subject, payload, sent)
      if (problem !== undefined) return publisher.refuse(problem)
      const { headers } = sent
      const message = new OutgoingMessage({
        protocol: 'nats',
        topic: subject,
        sender,
        body: payload,
        headers: headers && readHeaders({ headers } as Parameters<typeof readHeaders>[0]),
      })
      const tooLarge = findSizeProblem(message, connection.info?.max_payload)
      return tooLarge === undefined ? publisher.publish(message, sent, placement) : publisher.refuse(tooLarge)
    },
    flush: withinMs => publisher.flush(withinMs),
    stats: () => publisher.stats(),
    close: () => {
      parts.close()
      publisher.whenIdle(stopWatching)
    },
  }
}

/**
 * Returns the problem with a message for which the client would throw or write something else, or undefined if none
 * exists. Never throws.
 */
function findPublishProblem(
  subject: unknown,
  payload: unknown,
  { headers, reply, msgID }: NatsPublishOptions,
): Error | undefined {
  const problem = findMessageProblem(subject, payload, 'nats')
  if (problem !== undefined) return problem
  if (reply !== undefined && reply !== '' && findMessageProblem(reply, '', 'nats') !== undefined)
    return wrongTypeError('reply', reply, 'a subject')
  if (msgID !== undefined && (typeof msgID !== 'string' || /[\r\n]/.test(msgID)))
    return wrongTypeError('msgID', msgID, 'text of one line')
  if (headers !== undefined && typeof (headers as Partial<typeof headers> | null)?.keys !== 'function')
    return wrongTypeError('headers', headers, 'made by `headers` of the client')
  return undefined
}

interface ConnectionListener {
  connected(): void
  disconnected(): void
  closed(): void
}

/** Reports changes of a connection. The returned function ends that. */
function watchConnection(connection: PublishingConnection, listener: ConnectionListener): () => void {
  const statuses = connection.status()[Symbol.asyncIterator]()
  let isWatching = true
  const next = async (): Promise<void> => {
    while (isWatching) {
      const { done, value } = await statuses.next()
      if (done || !isWatching) return
      if (value.type === 'disconnect') listener.disconnected()
      else if (value.type === 'reconnect') listener.connected()
    }
  }
  const closed = (): void => {
    if (isWatching) listener.closed()
  }
  next().catch(() => listener.disconnected())
  connection.closed?.().then(closed, closed)
  return () => {
    isWatching = false
    void statuses.return?.()
  }
}
