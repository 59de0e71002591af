import { policyError } from '../../src/core/errors.ts'
import { validPattern } from '../../src/index.ts'
import { assertSupported, corePlace, type Place, requestPlace } from './capabilities.ts'
import type { NatsConnection, NatsMessage, NatsSubscription } from './client.ts'
import type { NatsContext } from './context.ts'
import { type Answering, CoreMessageProcessor } from './core-message-processor.ts'
import type { Handler } from './message-processor.ts'

/** Where messages come from, until it is stopped. */
export interface MessageSource {
  /** What may be asked for there; looked at again when the policy changes. */
  readonly place: Place
  /** Messages held now. */
  readonly held: number
  /** Messages of its consumer that were still to come when the last one came; only of JetStream. */
  readonly lag?: number | undefined
  /** Why no messages come; only of JetStream. */
  readonly problem?: string | undefined
  /** Takes nothing more; what has come is still handled. */
  stop(): Promise<void>
}

export interface SubscribeOptions<M extends NatsMessage> {
  /** The queue group. */
  readonly queue?: string | undefined
  readonly callback: Handler<M>
  /** Of a queue group: that its rules may discard messages, which are lost to all members. Default: false. */
  readonly lossy?: boolean | undefined
  /**
   * Of a queue group: messages held at which this member leaves it, so that others get what comes, and to half of which
   * it has come down when it joins again. What comes while no member is there is lost. Default: never.
   */
  readonly leaveAt?: number | undefined
  /**
   * Whether a request that a rule rejects is answered with 429, as one that is held at the end. Only for the service that
   * requests are meant for: a listener beside it would answer in its place, and on subjects of a stream the publisher would
   * take the answer for the stream's. Default: false.
   */
  readonly answer?: boolean | undefined
}

/** A subscription of core NATS that leaves its queue group while it holds too much. */
export class CoreSource<M extends NatsMessage> implements MessageSource {
  readonly place: Place
  readonly #context: NatsContext
  readonly #nc: NatsConnection<M>
  readonly #subject: string
  readonly #options: SubscribeOptions<M>
  readonly #processor: CoreMessageProcessor<M>
  readonly #leaveAt: number
  #subscription: NatsSubscription | undefined
  #leaving: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(
    context: NatsContext,
    nc: NatsConnection<M>,
    subject: string,
    options: SubscribeOptions<M>,
    answering: Answering,
  ) {
    checkSubject(subject)
    this.place = answering === 'all' ? requestPlace(subject) : corePlace(subject, options)
    assertSupported(context.gate, this.place)
    this.#context = context
    this.#nc = nc
    this.#subject = subject
    this.#options = options
    this.#leaveAt = (options.queue === undefined ? undefined : options.leaveAt) ?? Number.POSITIVE_INFINITY
    this.#processor = new CoreMessageProcessor(context, options.callback, {
      over: nc,
      answering,
      ...(this.#leaveAt === Number.POSITIVE_INFINITY ? {} : { onHeld: () => this.#consider() }),
    })
    this.#join()
    context.sources.add(this)
  }

  get held(): number {
    return this.#processor.held
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#context.sources.delete(this)
    this.#leave()
    await this.#leaving
  }

  #consider(): void {
    if (this.#stopped) return
    if (this.#subscription !== undefined && this.held >= this.#leaveAt) this.#leave()
    else if (this.#subscription === undefined && this.held <= this.#leaveAt / 2) this.#join()
  }

  #join(): void {
    const { queue } = this.#options
    const processor = this.#processor
    try {
      this.#subscription = this.#nc.subscribe(this.#subject, {
        ...(queue === undefined ? {} : { queue }),
        callback: (error, message) => {
          if (error) this.#context.errorLog.note('subscription', error)
          else processor.take(message)
        },
      })
    } catch (cause) {
      // At first it is the caller's; later nobody is there to catch it.
      if (this.held === 0) throw cause
      this.#context.errorLog.note('subscription', cause)
    }
  }

  /** Drained, not ended at once: what the server has sent already was given to no other member. */
  #leave(): void {
    const leaving = this.#subscription
    this.#subscription = undefined
    if (leaving === undefined) return
    this.#leaving = Promise.resolve(leaving.drain()).catch(() => {
      // The connection has gone, and the subscription with it.
    })
  }
}

/** Throws PolicyError for a subject that can never be subscribed to: clients swallow what the server says of it. */
function checkSubject(subject: string): void {
  if (validPattern(subject, 'nats')) return
  const message = `${JSON.stringify(String(subject).slice(0, 80))} is no subject`
  throw policyError('subject', message, 'write tokens between dots, * for one and > for the rest')
}
