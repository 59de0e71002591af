import type { Decision } from '../../src/decision.ts'
import { natsRefusalHeaders, refusalText } from '../../src/index.ts'
import { redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import type { NatsMessage, NatsOutlet } from './client.ts'
import { BaseCourse, type Handler } from './course.ts'
import type { Delivery } from './delivery.ts'
import { makeHeaders } from './headers.ts'
import type { Station } from './station.ts'

const NOTHING = new Uint8Array(0)

export interface CoreCourseOptions {
  /** The connection that redirects. */
  readonly over: NatsOutlet | undefined
  /** Every message is a request, which is never left without an answer. */
  readonly answersAll: boolean
  /** Told of each message that is held, and of each that is held no more. */
  readonly onHeld?: () => void
}

/** Messages of core NATS: nobody sends them again, and only requests can be answered. */
export class CoreCourse<M extends NatsMessage> extends BaseCourse<M> {
  readonly #options: CoreCourseOptions

  constructor(station: Station, handler: Handler<M>, options: CoreCourseOptions) {
    super(station, handler, station.settings.maxInFlight)
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
    const { tally } = this.station
    if (decision.outcome === 'redirect' && this.#redirect(decision, delivery)) {
      tally.redirected++
      return
    }
    if (decision.outcome === 'retry' && !this.#options.answersAll) tally.unsupported++
    const told = this.#options.answersAll || decision.outcome === 'reject'
    if (told && this.#answer(delivery, this.#refusalOf(decision, delivery))) tally.refused++
    else tally.dropped++
  }

  #redirect(decision: Decision, delivery: Delivery): boolean {
    const facts = this.rule(decision)
    const plan = facts?.exceeded.redirect
    if (facts === undefined || plan === undefined) return false
    const to = redirectTopic(plan, delivery, decision, facts.capturesOf(delivery.topic))
    if (to === undefined) return false
    const { source } = delivery
    const headers = makeHeaders(
      this.station.settings.headers,
      redirectHeaders(plan, delivery, decision),
      source,
    )
    return this.station.publish(this.#options.over, to, source.data, {
      ...(headers === undefined ? {} : { headers }),
      // Whoever listens there answers the request.
      ...(source.reply ? { reply: source.reply } : {}),
    })
  }

  #refusalOf(decision: Decision, delivery: Delivery): Readonly<Record<string, string>> {
    const facts = this.rule(decision)
    const text = refusalText(decision, delivery.sender, facts)
    return natsRefusalHeaders(decision, facts, text, { legacy: this.station.settings.legacyFields })
  }

  /** Answers a request with an error, as NATS services do; false where nobody waits for it. */
  #answer({ source }: Delivery, fields: Readonly<Record<string, string>>): boolean {
    if (!source.reply || source.respond === undefined) return false
    const headers = makeHeaders(this.station.settings.headers, fields)
    try {
      return source.respond(NOTHING, headers === undefined ? {} : { headers })
    } catch (cause) {
      this.station.trouble.note('answer', cause)
      return false
    }
  }

  /** A request that waited is told to come again; any other message is lost with its member. */
  protected sendsBack(delivery: Delivery): boolean {
    // A message that has only just come is taken while its subscription ends: the server has given it to nobody else.
    if (delivery.heldAs === undefined && !delivery.settled) return false
    const decision: Decision = {
      allowed: false,
      outcome: 'reject',
      reason: 'rate_limit_exceeded',
      retryAfterMs: 1_000,
    }
    if (this.#answer(delivery, this.#refusalOf(decision, delivery))) this.station.tally.refused++
    return true
  }

  protected succeeded(): void {}

  protected failed(delivery: Delivery): void {
    if (!this.#options.answersAll) return
    const fields = { 'Nats-Service-Error-Code': '500', 'Nats-Service-Error': 'the handler failed' }
    this.#answer(delivery, fields)
  }
}
