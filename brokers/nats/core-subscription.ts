import { assertSupported } from '../../src/broker-support/unsupported-outcomes.ts'
import { policyError } from '../../src/core/errors.ts'
import { validPattern } from '../../src/topic/dialect.ts'
import type { Handler } from './base-message-processor.ts'
import {
  type Capabilities,
  findUnsupported,
  serviceCapabilities,
  subscriptionCapabilities,
} from './capabilities.ts'
import type { NatsConnection, NatsMessage, NatsSubscription } from './client-types.ts'
import { type AnsweredRequests, CoreMessageProcessor } from './core-message-processor.ts'
import type { LimiterContext } from './limiter-context.ts'
import type { MessageSource } from './message-source.ts'

export interface NatsSubscribeOptions<M extends NatsMessage> {
  /** Queue group. */
  readonly queue?: string | undefined
  readonly callback: Handler<M>
  /** Allows rules of a queue group to discard messages, which are lost to all members. Default: false. */
  readonly lossy?: boolean | undefined
  /**
   * Number of held messages at which a member leaves its queue group, so that others get new messages. It joins again at
   * half of it. Messages are lost while the group has no member. Default: never.
   */
  readonly leaveAt?: number | undefined
  /**
   * Answers a request with 429 if a rule rejects it or it is held at the end. Only for the service that the requests are
   * meant for: a mere listener would answer in place of the service, and on a stream's subjects a publisher would take the
   * answer for the stream's. Default: false.
   */
  readonly answer?: boolean | undefined
}

/** Subscription of core NATS. Leaves its queue group while it holds too many messages. */
export class LimitedCoreSubscription<M extends NatsMessage> implements MessageSource {
  readonly capabilities: Capabilities
  readonly #limiter: LimiterContext
  readonly #nc: NatsConnection<M>
  readonly #subject: string
  readonly #options: NatsSubscribeOptions<M>
  readonly #processor: CoreMessageProcessor<M>
  readonly #leaveAt: number
  #subscription: NatsSubscription | undefined
  #leaving: Promise<void> = Promise.resolve()
  #isStopped = false

  constructor(
    limiter: LimiterContext,
    nc: NatsConnection<M>,
    subject: string,
    options: NatsSubscribeOptions<M>,
    answering: AnsweredRequests,
  ) {
    checkSubject(subject)
    this.capabilities =
      answering === 'all' ? serviceCapabilities(subject) : subscriptionCapabilities(subject, options)
    assertSupported(findUnsupported(limiter.gate, this.capabilities))
    this.#limiter = limiter
    this.#nc = nc
    this.#subject = subject
    this.#options = options
    this.#leaveAt = (options.queue === undefined ? undefined : options.leaveAt) ?? Infinity
    this.#processor = new CoreMessageProcessor(limiter, options.callback, {
      publishTarget: nc,
      answering,
      onHeld: this.#leaveAt === Infinity ? undefined : () => this.#updateMembership(),
    })
    this.#subscribe()
    limiter.sources.add(this)
  }

  get held(): number {
    return this.#processor.held
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#limiter.sources.delete(this)
    this.#leaveGroup()
    await this.#leaving
  }

  #updateMembership(): void {
    if (this.#isStopped) return
    if (this.#subscription !== undefined && this.held >= this.#leaveAt) this.#leaveGroup()
    else if (this.#subscription === undefined && this.held <= this.#leaveAt / 2) this.#subscribe()
  }

  #subscribe(): void {
    const { queue } = this.#options
    const processor = this.#processor
    try {
      this.#subscription = this.#nc.subscribe(this.#subject, {
        queue,
        callback: (error, message) => {
          if (error) this.#limiter.errorLog.logError('the subscription failed', error)
          else processor.process(message)
        },
      })
    } catch (cause) {
      // The first error goes to the caller. Later no caller can catch it.
      if (this.held === 0) throw cause
      this.#limiter.errorLog.logError('the subscription failed', cause)
    }
  }

  /** Drains the subscription, because the server gave messages on their way to no other member. */
  #leaveGroup(): void {
    const leaving = this.#subscription
    this.#subscription = undefined
    if (leaving === undefined) return
    this.#leaving = Promise.resolve(leaving.drain()).catch(() => {
      // The connection is closed, and the subscription with it.
    })
  }
}

/** Throws PolicyError for an invalid subject, because clients hide the server's error. */
function checkSubject(subject: string): void {
  if (validPattern(subject, 'nats')) return
  const message = `${JSON.stringify(String(subject).slice(0, 80))} is not a subject`
  throw policyError(
    'subject',
    message,
    'write tokens separated by dots, with * for one token and > for the rest',
  )
}
