import type { Decision } from '../../src/core/decision.ts'
import { natsErrorBody, natsRefusalHeaders, TOO_MANY_REQUESTS } from '../../src/outcomes/nats-refusal.ts'
import { redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import { refusalText } from '../../src/outcomes/refusal-text.ts'
import { BaseMessageProcessor, type Handler } from './base-message-processor.ts'
import type { NatsMessage, NatsPublishTarget } from './client-types.ts'
import { extendHeaders } from './headers.ts'
import type { LimiterContext } from './limiter-context.ts'
import type { ReceivedMessage } from './message.ts'

const HANDLER_FAILED = natsErrorBody({ code: 500, description: 'the handler failed' })

/**
 * Refused requests that this side answers: `none`; those rejected by a rule or held at the end (`rejected`); or all
 * (`all`).
 */
export type AnsweredRequests = 'none' | 'rejected' | 'all'

export interface CoreMessageProcessorOptions {
  /** Connection for redirects. */
  readonly publishTarget: NatsPublishTarget | undefined
  readonly answering: AnsweredRequests
  /** Called when a message starts or stops being held. */
  readonly onHeld?: (() => void) | undefined
}

/** Processor of core NATS messages. They are not delivered again, and only requests can be answered. */
export class CoreMessageProcessor<M extends NatsMessage> extends BaseMessageProcessor<M> {
  readonly #options: CoreMessageProcessorOptions

  constructor(limiter: LimiterContext, handler: Handler<M>, options: CoreMessageProcessorOptions) {
    super(limiter, handler, limiter.settings.maxInFlight)
    this.#options = options
  }

  protected override addHeld(message: ReceivedMessage, isAnswerPending: boolean): void {
    super.addHeld(message, isAnswerPending)
    this.#options.onHeld?.()
  }

  protected override removeHeld(message: ReceivedMessage, decision?: Decision): void {
    super.removeHeld(message, decision)
    this.#options.onHeld?.()
  }

  protected refuse(decision: Decision, message: ReceivedMessage): void {
    const { counters } = this.limiter
    if (decision.outcome === 'redirect' && this.#redirect(decision, message)) {
      counters.redirected++
      return
    }
    const { answering } = this.#options
    if (decision.outcome === 'retry' && answering !== 'all') counters.unsupported++
    const isAnswered = answering === 'all' || (answering === 'rejected' && decision.outcome === 'reject')
    if (isAnswered && this.#answer(message, TOO_MANY_REQUESTS, this.#refusalHeaders(decision, message)))
      counters.refused++
    else counters.dropped++
  }

  #redirect(decision: Decision, message: ReceivedMessage): boolean {
    const ruleInfo = this.ruleInfoOf(decision)
    const plan = ruleInfo?.exceeded.redirect
    const { publishTarget, answering } = this.#options
    if (ruleInfo === undefined || plan === undefined || publishTarget === undefined) return false
    const to = redirectTopic(plan, message, decision, ruleInfo.capturesOf(message.topic))
    if (to === undefined) return false
    const { source } = message
    const headers = extendHeaders(
      this.limiter.settings.headers,
      redirectHeaders(plan, message, decision),
      source,
    )
    // The service on that subject answers the request. A stream would answer too, even one meant for another purpose.
    const reply = source.reply && answering !== 'none' ? source.reply : undefined
    try {
      publishTarget.publish(to, source.data, { headers, reply })
      return true
    } catch (cause) {
      this.limiter.errorLog.logError('a message could not be published', cause)
      return false
    }
  }

  #refusalHeaders(decision: Decision, message: ReceivedMessage): Readonly<Record<string, string>> {
    const ruleInfo = this.ruleInfoOf(decision)
    const text = refusalText(decision, this.limiter.gate.senderOf(message), ruleInfo)
    return natsRefusalHeaders(decision, ruleInfo, text, { legacy: this.limiter.settings.legacyFields })
  }

  /** Answers a request with an error, as NATS services do. Returns false if the message has no reply subject. */
  #answer({ source }: ReceivedMessage, body: Uint8Array, fields: Readonly<Record<string, string>>): boolean {
    if (!source.reply || source.respond === undefined) return false
    const headers = extendHeaders(this.limiter.settings.headers, fields)
    try {
      return source.respond(body, { headers })
    } catch (cause) {
      this.limiter.errorLog.logError('a message could not be answered', cause)
      return false
    }
  }

  /** Answers a held request if requests are answered. Any other held message is lost. */
  protected sendBack(message: ReceivedMessage): boolean {
    // A message that has just arrived is processed, because the server has given it to no other member.
    if (message.heldId === undefined && !message.isSettled) return false
    const decision: Decision = {
      allowed: false,
      outcome: 'reject',
      reason: 'rate_limit_exceeded',
      retryAfterMs: 1_000,
    }
    const isAnswered = this.#options.answering !== 'none'
    if (isAnswered && this.#answer(message, TOO_MANY_REQUESTS, this.#refusalHeaders(decision, message)))
      this.limiter.counters.refused++
    return true
  }

  protected onSuccess(): void {}

  protected onFailure(message: ReceivedMessage): void {
    if (this.#options.answering !== 'all') return
    const fields = { 'Nats-Service-Error-Code': '500', 'Nats-Service-Error': 'the handler failed' }
    this.#answer(message, HANDLER_FAILED, fields)
  }
}
