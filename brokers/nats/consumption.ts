import { BOUNDS } from '../../src/bounds.ts'
import type { ConsumerMessages, JetStreamConsumer, JetStreamMessage, PullConsumer } from './client.ts'
import { type ConsumerStatus, ConsumerWatch, isMissing, statusOf } from './consumer-watch.ts'
import type { JetStreamCourse } from './jetstream-course.ts'
import { type Permit, pause } from './permit.ts'
import type { Station } from './station.ts'
import type { Intake } from './subscription.ts'
import type { Place } from './support.ts'

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
export interface ConsumerIntake extends Intake {
  /** Why no messages come; undefined while they do. */
  readonly problem: string | undefined
  /** Resolves when it takes nothing more: with the error that ended it, or with undefined after it was stopped. */
  closed(): Promise<Error | undefined>
}

/** Consumes by callback, as fast as the consumer gives. */
export async function consumeAll<M extends JetStreamMessage>(
  station: Station,
  consumer: JetStreamConsumer<M>,
  course: JetStreamCourse<M>,
  place: Place,
  name: string,
  { onStatus, ...pull }: PullOptions,
): Promise<ConsumerIntake> {
  const watch = new ConsumerWatch(station, name, onStatus)
  const callback = (message: M): void => {
    if (watch.problem !== undefined) watch.recover()
    course.take(message)
  }
  const messages = await consumer.consume({ ...pull, callback })
  let isStopped = false
  void watch.follow(messages)
  const closed = messages.closed().then(toError, toError)
  void closed.then(error => {
    station.intakes.delete(intake)
    if (!isStopped) watch.report('ended', error)
  })
  const intake: ConsumerIntake = {
    place,
    get held() {
      return course.held
    },
    get lag() {
      return course.lag
    },
    get problem() {
      return watch.problem
    },
    closed: () => closed,
    stop: async () => {
      isStopped = true
      station.intakes.delete(intake)
      await messages.close()
    },
  }
  station.intakes.add(intake)
  return intake
}

function toError(ended: unknown): Error | undefined {
  return ended instanceof Error ? ended : undefined
}

/** Pulls no more than may pass or has room to wait for a handler, and nothing before it may. */
export class PacedIntake<M extends JetStreamMessage> implements ConsumerIntake {
  readonly place: Place
  readonly #station: Station
  readonly #consumer: PullConsumer<M>
  readonly #course: JetStreamCourse<M>
  readonly #permit: Permit
  readonly #pull: PullOptions
  readonly #watch: ConsumerWatch
  readonly #closed: Promise<Error | undefined>
  #resolveClosed: (error: Error | undefined) => void = () => {}
  #messages: ConsumerMessages<M> | undefined
  #stopped = false

  constructor(
    station: Station,
    consumer: PullConsumer<M>,
    course: JetStreamCourse<M>,
    permit: Permit,
    place: Place,
    name: string,
    { onStatus, ...pull }: PullOptions,
  ) {
    this.#station = station
    this.#consumer = consumer
    this.#course = course
    this.#permit = permit
    this.place = place
    this.#pull = pull
    this.#watch = new ConsumerWatch(station, name, onStatus)
    this.#closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    station.intakes.add(this)
    void this.#run()
  }

  get held(): number {
    return this.#course.held
  }

  get lag(): number | undefined {
    return this.#course.lag
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
    this.#station.intakes.delete(this)
    this.#resolveClosed(error)
  }

  async #run(): Promise<void> {
    const most = this.#pull.max_messages ?? DEFAULT_BATCH
    while (!this.#stopped) {
      try {
        const free = Math.min(most, BOUNDS.waitingForHandler - this.#course.waiting)
        if (free <= 0) {
          await pause(this.#station.guard.clock, ROOM_MS)
          continue
        }
        const room = await this.#permit.wait(free, () => this.#stopped)
        if (room > 0) await this.#pullSome(room)
      } catch (cause) {
        if (this.#stopped) return
        await this.#fail(cause)
        await pause(this.#station.guard.clock, RETRY_MS)
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
      this.#course.take(message)
    }
    // The client ends a pull without an error, too, when its consumer has gone.
    if (isEmpty && !this.#stopped) await this.#look()
  }
}
