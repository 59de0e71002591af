import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Place } from './capabilities.ts'
import type { ConsumerMessages, JetStreamConsumer, JetStreamMessage, PullConsumer } from './client.ts'
import { type ConsumerStatus, ConsumerWatch, isMissing, statusOf } from './consumer-watch.ts'
import type { NatsContext } from './context.ts'
import type { JetStreamMessageProcessor } from './jetstream-message-processor.ts'
import { type PullBudget, pause } from './pull-budget.ts'
import type { MessageSource } from './subscription.ts'

/** Most messages asked for at once, and how long such a question stands. */
const DEFAULT_BATCH = 100
const EXPIRES_MS = 30_000
/** When it is looked again whether there is room for messages to wait for a handler. */
const ROOM_MS = 10
/** After a pull that failed. */
const RETRY_MS = 1_000

/** Options that the client's own `consume` and `fetch` know, and what becomes of the consumer. */
export interface PullOptions {
  /** Most messages asked for at once. Default: 100. */
  readonly max_messages?: number | undefined
  /** How long a question to the server stands, at least 1,000 ms. Default: 30,000. */
  readonly expires?: number | undefined
  /** Milliseconds between heartbeats of the server. Default: half of `expires`, at most 30,000. */
  readonly idle_heartbeat?: number | undefined
  /** Whether to end when the consumer or its stream is gone, instead of waiting for it to come back. Default: false. */
  readonly abort_on_missing_resource?: boolean | undefined
  /** Called with each status that the client reports of the consumer, as `consumer_deleted` or `heartbeats_missed`. */
  readonly onStatus?: ((status: ConsumerStatus) => void) | undefined
}

/** What a JetStream consumer is taken by. */
export interface ConsumerSource extends MessageSource {
  /** Why no messages come; undefined while they do. */
  readonly problem: string | undefined
  /** Resolves when it takes nothing more: with the error that ended it, or with undefined after it was stopped. */
  closed(): Promise<Error | undefined>
}

/** Consumes by callback, as fast as the consumer gives. */
export async function consumeAll<M extends JetStreamMessage>(
  context: NatsContext,
  consumer: JetStreamConsumer<M>,
  processor: JetStreamMessageProcessor<M>,
  place: Place,
  name: string,
  { onStatus, ...pull }: PullOptions,
): Promise<ConsumerSource> {
  const watch = new ConsumerWatch(context, name, onStatus)
  const callback = (message: M): void => {
    if (watch.problem !== undefined) watch.recover()
    processor.take(message)
  }
  const messages = await consumer.consume({ ...pull, callback })
  let isStopped = false
  void watch.follow(messages)
  const closed = messages.closed().then(toError, toError)
  void closed.then(error => {
    context.sources.delete(intake)
    if (!isStopped) watch.report('ended', error)
  })
  const intake: ConsumerSource = {
    place,
    get held() {
      return processor.held
    },
    get lag() {
      return processor.lag
    },
    get problem() {
      return watch.problem
    },
    closed: () => closed,
    stop: async () => {
      isStopped = true
      context.sources.delete(intake)
      await messages.close()
    },
  }
  context.sources.add(intake)
  return intake
}

function toError(ended: unknown): Error | undefined {
  return ended instanceof Error ? ended : undefined
}

/** Pulls no more than may pass or has room to wait for a handler, and nothing before it may. */
export class PacedSource<M extends JetStreamMessage> implements ConsumerSource {
  readonly place: Place
  readonly #context: NatsContext
  readonly #consumer: PullConsumer<M>
  readonly #processor: JetStreamMessageProcessor<M>
  readonly #pullBudget: PullBudget
  readonly #pull: PullOptions
  readonly #watch: ConsumerWatch
  readonly #closed: Promise<Error | undefined>
  #resolveClosed: (error: Error | undefined) => void = () => {}
  #messages: ConsumerMessages<M> | undefined
  #stopped = false

  constructor(
    context: NatsContext,
    consumer: PullConsumer<M>,
    processor: JetStreamMessageProcessor<M>,
    pullBudget: PullBudget,
    place: Place,
    name: string,
    { onStatus, ...pull }: PullOptions,
  ) {
    this.#context = context
    this.#consumer = consumer
    this.#processor = processor
    this.#pullBudget = pullBudget
    this.place = place
    this.#pull = pull
    this.#watch = new ConsumerWatch(context, name, onStatus)
    this.#closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    context.sources.add(this)
    void this.#run()
  }

  get held(): number {
    return this.#processor.held
  }

  get lag(): number | undefined {
    return this.#processor.lag
  }

  get problem(): string | undefined {
    return this.#watch.problem
  }

  closed(): Promise<Error | undefined> {
    return this.#closed
  }

  async stop(): Promise<void> {
    this.#end(undefined)
    await this.#messages?.close()
  }

  #end(error: Error | undefined): void {
    this.#stopped = true
    this.#context.sources.delete(this)
    this.#resolveClosed(error)
  }

  async #run(): Promise<void> {
    const most = this.#pull.max_messages ?? DEFAULT_BATCH
    while (!this.#stopped) {
      try {
        const free = Math.min(most, MAX_SIZES.waitingForHandler - this.#processor.waiting)
        if (free <= 0) {
          await pause(this.#context.guard.clock, ROOM_MS)
          continue
        }
        const room = await this.#pullBudget.wait(free, () => this.#stopped)
        if (room > 0) await this.#pullSome(room)
      } catch (cause) {
        if (this.#stopped) return
        await this.#fail(cause)
        await pause(this.#context.guard.clock, RETRY_MS)
      }
    }
  }

  async #fail(cause: unknown): Promise<void> {
    const given = cause instanceof Error ? cause : new Error(String(cause))
    // To a pull that finds no consumer nobody answers, just as without a leader.
    const error = isMissing(given) ? given : await this.#findMissing(given)
    this.#watch.report(statusOf(error), error)
    if (this.#pull.abort_on_missing_resource && isMissing(error)) this.#end(error)
  }

  /** Asks for the consumer, of which nothing has come for as long as a pull takes. Rejects if it is not there. */
  async #look(): Promise<void> {
    await this.#consumer.info()
    if (this.#watch.problem !== undefined) this.#watch.recover()
  }

  async #findMissing(otherwise: Error): Promise<Error> {
    try {
      await this.#consumer.info()
    } catch (cause) {
      if (isMissing(cause)) return cause as Error
    }
    return otherwise
  }

  async #pullSome(count: number): Promise<void> {
    const { expires = EXPIRES_MS } = this.#pull
    const messages = await this.#consumer.fetch({ ...this.#pull, max_messages: count, expires })
    this.#messages = messages
    if (this.#stopped) await messages.close()
    void this.#watch.follow(messages)
    let isEmpty = true
    for await (const message of messages) {
      isEmpty = false
      if (this.#watch.problem !== undefined) this.#watch.recover()
      this.#processor.take(message)
    }
    // The client ends a pull without an error, too, when its consumer has gone.
    if (isEmpty && !this.#stopped) await this.#look()
  }
}
