import type { ConsumerMessages, JetStreamConsumer, JetStreamMessage, PullConsumer } from './client.ts'
import type { JetStreamCourse } from './jetstream-course.ts'
import { type Permit, pause } from './permit.ts'
import type { Station } from './station.ts'
import type { Intake } from './subscription.ts'
import type { Place } from './support.ts'

/** Most messages asked for at once, and how long such a question stands. */
const DEFAULT_BATCH = 100
const EXPIRES_MS = 30_000
/** After a pull that failed. */
const RETRY_MS = 1_000

/** Consumes by callback, as fast as the consumer gives. */
export async function consumeAll<M extends JetStreamMessage>(
  station: Station,
  consumer: JetStreamConsumer<M>,
  course: JetStreamCourse<M>,
  place: Place,
  pull: object,
): Promise<Intake> {
  const messages = await consumer.consume({ ...pull, callback: message => course.take(message) })
  const intake: Intake = {
    place,
    get held() {
      return course.held
    },
    get lag() {
      return course.lag
    },
    stop: async () => {
      station.intakes.delete(intake)
      await messages.close()
    },
  }
  station.intakes.add(intake)
  return intake
}

/** Pulls no more than may pass, and nothing before it may. */
export class PacedIntake<M extends JetStreamMessage> implements Intake {
  readonly place: Place
  readonly #station: Station
  readonly #consumer: PullConsumer<M>
  readonly #course: JetStreamCourse<M>
  readonly #permit: Permit
  readonly #pull: { readonly max_messages?: number; readonly expires?: number }
  #messages: ConsumerMessages<M> | undefined
  #stopped = false

  constructor(
    station: Station,
    consumer: PullConsumer<M>,
    course: JetStreamCourse<M>,
    permit: Permit,
    place: Place,
    pull: { readonly max_messages?: number; readonly expires?: number },
  ) {
    this.#station = station
    this.#consumer = consumer
    this.#course = course
    this.#permit = permit
    this.place = place
    this.#pull = pull
    station.intakes.add(this)
    void this.#run()
  }

  get held(): number {
    return this.#course.held
  }

  get lag(): number | undefined {
    return this.#course.lag
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#station.intakes.delete(this)
    await this.#messages?.close()
  }

  async #run(): Promise<void> {
    const most = this.#pull.max_messages ?? DEFAULT_BATCH
    while (!this.#stopped) {
      try {
        const room = await this.#permit.wait(most, () => this.#stopped)
        if (room > 0) await this.#pullSome(room)
      } catch (cause) {
        this.#station.trouble.note('subscription', cause)
        await pause(this.#station.guard.clock, RETRY_MS)
      }
    }
  }

  async #pullSome(count: number): Promise<void> {
    const { expires = EXPIRES_MS } = this.#pull
    const messages = await this.#consumer.fetch({ ...this.#pull, max_messages: count, expires })
    this.#messages = messages
    if (this.#stopped) await messages.close()
    for await (const message of messages) this.#course.take(message)
  }
}
