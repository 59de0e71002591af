import { sleep } from '../../src/core/clock.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Capabilities } from './capabilities.ts'
import type { ConsumerMessages, JetStreamConsumer, JetStreamMessage, PullConsumer } from './client-types.ts'
import {
  type ConsumerStatus,
  ConsumerStatusReporter,
  isConsumerMissingError,
  statusOfError,
} from './consumer-status-reporter.ts'
import type { JetStreamMessageProcessor } from './jetstream-message-processor.ts'
import type { LimiterContext } from './limiter-context.ts'
import type { MessageSource } from './message-source.ts'
import type { PullBatchSize } from './pull-batch-size.ts'

/** Default number of messages per pull, and how long a pull stays open. */
const DEFAULT_BATCH = 100
const EXPIRES_MS = 30_000
/** Time between checks for room. */
const ROOM_MS = 10
/** Delay after a failed pull. */
const RETRY_MS = 1_000

/** Options of the client's own `consume` and `fetch`, and a callback for the consumer's status. */
export interface PullOptions {
  /** Most messages per pull. Default: 100. */
  readonly max_messages?: number | undefined
  /** Duration of a pull, at least 1,000 ms. Default: 30,000. */
  readonly expires?: number | undefined
  /** Milliseconds between heartbeats of the server. Default: half of `expires`, at most 30,000. */
  readonly idle_heartbeat?: number | undefined
  /** Ends when the consumer or its stream is missing, instead of waiting for it. Default: false. */
  readonly abort_on_missing_resource?: boolean | undefined
  /** Called with each status that the client reports of the consumer, such as `consumer_deleted` or `heartbeats_missed`. */
  readonly onStatus?: ((status: ConsumerStatus) => void) | undefined
}

/** Source of messages from a JetStream consumer. */
export interface ConsumerSource extends MessageSource {
  /** Reason why no messages arrive, or undefined while they do. */
  readonly problem: string | undefined
  /** Resolves when the source has ended: with the error, or with undefined after it was stopped. */
  closed(): Promise<Error | undefined>
}

/** Consumes by callback, as fast as the consumer delivers. */
export async function consumeUnpaced<M extends JetStreamMessage>(
  limiter: LimiterContext,
  consumer: JetStreamConsumer<M>,
  processor: JetStreamMessageProcessor<M>,
  capabilities: Capabilities,
  name: string,
  { onStatus, ...pull }: PullOptions,
): Promise<ConsumerSource> {
  const statusReporter = new ConsumerStatusReporter(limiter, name, onStatus)
  const callback = (message: M): void => {
    if (statusReporter.problem !== undefined) statusReporter.recover()
    processor.process(message)
  }
  const messages = await consumer.consume({ ...pull, callback })
  let isStopped = false
  void statusReporter.follow(messages)
  const closed = messages.closed().then(toError, toError)
  void closed.then(error => {
    limiter.sources.delete(source)
    if (!isStopped) statusReporter.reportStatus('ended', error)
  })
  const source: ConsumerSource = {
    capabilities,
    get held() {
      return processor.held
    },
    get lag() {
      return processor.lag
    },
    get problem() {
      return statusReporter.problem
    },
    closed: () => closed,
    stop: async () => {
      isStopped = true
      limiter.sources.delete(source)
      await messages.close()
    },
  }
  limiter.sources.add(source)
  return source
}

function toError(ended: unknown): Error | undefined {
  return ended instanceof Error ? ended : undefined
}

/** Pulls only as many messages as the limits allow now and as have room to wait for a handler. */
export class PacedPullConsumer<M extends JetStreamMessage> implements ConsumerSource {
  readonly capabilities: Capabilities
  readonly #limiter: LimiterContext
  readonly #consumer: PullConsumer<M>
  readonly #processor: JetStreamMessageProcessor<M>
  readonly #pullBatchSize: PullBatchSize
  readonly #pull: PullOptions
  readonly #statusReporter: ConsumerStatusReporter
  readonly #closed: Promise<Error | undefined>
  #resolveClosed: (error: Error | undefined) => void = () => {}
  #messages: ConsumerMessages<M> | undefined
  #isStopped = false

  constructor(
    limiter: LimiterContext,
    consumer: PullConsumer<M>,
    processor: JetStreamMessageProcessor<M>,
    pullBatchSize: PullBatchSize,
    capabilities: Capabilities,
    name: string,
    { onStatus, ...pull }: PullOptions,
  ) {
    this.#limiter = limiter
    this.#consumer = consumer
    this.#processor = processor
    this.#pullBatchSize = pullBatchSize
    this.capabilities = capabilities
    this.#pull = pull
    this.#statusReporter = new ConsumerStatusReporter(limiter, name, onStatus)
    this.#closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    limiter.sources.add(this)
    void this.#pullUntilStopped()
  }

  get held(): number {
    return this.#processor.held
  }

  get lag(): number | undefined {
    return this.#processor.lag
  }

  get problem(): string | undefined {
    return this.#statusReporter.problem
  }

  closed(): Promise<Error | undefined> {
    return this.#closed
  }

  async stop(): Promise<void> {
    this.#end(undefined)
    await this.#messages?.close()
  }

  #end(error: Error | undefined): void {
    this.#isStopped = true
    this.#limiter.sources.delete(this)
    this.#resolveClosed(error)
  }

  async #pullUntilStopped(): Promise<void> {
    const maxMessages = this.#pull.max_messages ?? DEFAULT_BATCH
    while (!this.#isStopped) {
      try {
        const free = Math.min(maxMessages, MAX_SIZES.waitingForHandler - this.#processor.waiting)
        if (free <= 0) {
          await sleep(this.#limiter.guard.clock, ROOM_MS)
          continue
        }
        const room = await this.#pullBatchSize.wait(free, () => this.#isStopped)
        if (room > 0) await this.#pullMessages(room)
      } catch (cause) {
        if (this.#isStopped) return
        await this.#handleFailure(cause)
        await sleep(this.#limiter.guard.clock, RETRY_MS)
      }
    }
  }

  async #handleFailure(cause: unknown): Promise<void> {
    const error = cause instanceof Error ? cause : new Error(String(cause))
    // A pull from a missing consumer gets no answer, just as without a leader.
    const found = isConsumerMissingError(error) ? error : await this.#findMissing(error)
    this.#statusReporter.reportStatus(statusOfError(found), found)
    if (this.#pull.abort_on_missing_resource && isConsumerMissingError(found)) this.#end(found)
  }

  /** Checks that the consumer exists after an empty pull. Rejects if it does not. */
  async #checkConsumer(): Promise<void> {
    await this.#consumer.info()
    if (this.#statusReporter.problem !== undefined) this.#statusReporter.recover()
  }

  async #findMissing(fallback: Error): Promise<Error> {
    try {
      await this.#consumer.info()
    } catch (cause) {
      if (isConsumerMissingError(cause)) return cause as Error
    }
    return fallback
  }

  async #pullMessages(count: number): Promise<void> {
    const { expires = EXPIRES_MS } = this.#pull
    const messages = await this.#consumer.fetch({ ...this.#pull, max_messages: count, expires })
    this.#messages = messages
    if (this.#isStopped) await messages.close()
    void this.#statusReporter.follow(messages)
    let isEmpty = true
    for await (const message of messages) {
      isEmpty = false
      if (this.#statusReporter.problem !== undefined) this.#statusReporter.recover()
      this.#processor.process(message)
    }
    // The client also ends a pull without an error when its consumer is missing.
    if (isEmpty && !this.#isStopped) await this.#checkConsumer()
  }
}
