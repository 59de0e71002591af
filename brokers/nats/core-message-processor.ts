import type { Decision } from '../../src/core/decision.ts'
import { natsRefusalHeaders, refusalText } from '../../src/index.ts'
import { redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import type { NatsMessage, NatsPublishTarget } from './client.ts'
import type { NatsContext } from './context.ts'
import type { Delivery } from './delivery.ts'
import { makeHeaders } from './headers.ts'
import { type Handler, MessageProcessor } from './message-processor.ts'

/**
 * The body of a refusal. A JetStream client whose publish is answered reads it as error 429; headers alone it would take for
 * an acknowledgement it cannot read.
 */
const TOO_MANY_REQUESTS = errorBody({ code: 429, err_code: 10_167, description: 'too many requests' })
const HANDLER_FAILED = errorBody({ code: 500, description: 'the handler failed' })

function errorBody(error: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ error }))
}

/**
 * Requests that are answered by this side when they may not pass: `none`; those that a rule rejects or that are held at the
 * end (`rejected`); or all (`all`).
 */
export type Answering = 'none' | 'rejected' | 'all'

export interface CoreMessageProcessorOptions {
  /** The connection that redirects. */
  readonly over: NatsPublishTarget | undefined
  readonly answering: Answering
  /** Told of each message that is held, and of each that is held no more. */
  readonly onHeld?: (() => void) | undefined
}

/** Messages of core NATS: nobody sends them again, and only requests can be answered. */
export class CoreMessageProcessor<M extends NatsMessage> extends MessageProcessor<M> {
  readonly #options: CoreMessageProcessorOptions

  constructor(context: NatsContext, handler: Handler<M>, options: CoreMessageProcessorOptions) {
    super(context, handler, context.settings.maxInFlight)
    this.#options = options
  }

  protected override hold(delivery: Delivery, later: boolean): void {
    super.hold(delivery, later)
    this.#options.onHeld?.()
  }

  protected override unhold(delivery: Delivery, decision?: Decision): void {
    super.unhold(delivery, decision)
    this.#options.onHeld?.()
  }

  protected refuse(decision: Decision, delivery: Delivery): void {
    const { counters } = this.context
    if (decision.outcome === 'redirect' && this.#redirect(decision, delivery)) {
      counters.redirected++
      return
    }
    const { answering } = this.#options
    if (decision.outcome === 'retry' && answering !== 'all') counters.unsupported++
    const isAnswered = answering === 'all' || (answering === 'rejected' && decision.outcome === 'reject')
    if (isAnswered && this.#answer(delivery, TOO_MANY_REQUESTS, this.#refusalOf(decision, delivery)))
      counters.refused++
    else counters.dropped++
  }

  #redirect(decision: Decision, delivery: Delivery): boolean {
    const facts = this.rule(decision)
    const plan = facts?.exceeded.redirect
    if (facts === undefined || plan === undefined) return false
    const to = redirectTopic(plan, delivery, decision, facts.capturesOf(delivery.topic))
    if (to === undefined) return false
    const { source } = delivery
    const headers = makeHeaders(
      this.context.settings.headers,
      redirectHeaders(plan, delivery, decision),
      source,
    )
    return this.context.publish(this.#options.over, to, source.data, {
      ...(headers === undefined ? {} : { headers }),
      // The service that listens there answers the request. A stream would as well, also one that is meant for another.
      ...(source.reply && this.#options.answering !== 'none' ? { reply: source.reply } : {}),
    })
  }

  #refusalOf(decision: Decision, delivery: Delivery): Readonly<Record<string, string>> {
    const facts = this.rule(decision)
    const text = refusalText(decision, this.context.gate.senderOf(delivery), facts)
    return natsRefusalHeaders(decision, facts, text, { legacy: this.context.settings.legacyFields })
  }

  /** Answers a request with an error, as NATS services do. Returns false if the message has no reply subject. */
  #answer({ source }: Delivery, body: Uint8Array, fields: Readonly<Record<string, string>>): boolean {
    if (!source.reply || source.respond === undefined) return false
    const headers = makeHeaders(this.context.settings.headers, fields)
    try {
      return source.respond(body, headers === undefined ? {} : { headers })
    } catch (cause) {
      this.context.errorLog.note('answer', cause)
      return false
    }
  }

  /** A request that waited is answered where requests are; any other message is lost with its member. */
  protected sendsBack(delivery: Delivery): boolean {
    // A message that has only just come is taken while its subscription ends: the server has given it to nobody else.
    if (delivery.heldAs === undefined && !delivery.settled) return false
    const decision: Decision = {
      allowed: false,
      outcome: 'reject',
      reason: 'rate_limit_exceeded',
      retryAfterMs: 1_000,
    }
    const isAnswered = this.#options.answering !== 'none'
    if (isAnswered && this.#answer(delivery, TOO_MANY_REQUESTS, this.#refusalOf(decision, delivery)))
      this.context.counters.refused++
    return true
  }

  protected succeeded(): void {}

  protected failed(delivery: Delivery): void {
    if (this.#options.answering !== 'all') return
    const fields = { 'Nats-Service-Error-Code': '500', 'Nats-Service-Error': 'the handler failed' }
    this.#answer(delivery, HANDLER_FAILED, fields)
  }
}
