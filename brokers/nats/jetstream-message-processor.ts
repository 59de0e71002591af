import type { Decision } from '../../src/core/decision.ts'
import { isPromise } from '../../src/core/maybe-promise.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import type { RedirectPlan } from '../../src/outcomes/redirect.ts'
import type { JetStreamMessage } from './client.ts'
import { acknowledge, RedeliveryReader } from './client-internals.ts'
import type { Copied } from './confirmed-publish.ts'
import type { NatsContext } from './context.ts'
import type { Delivery } from './delivery.ts'
import { idOf, KeepAlive } from './keep-alive.ts'
import { type Handler, MessageProcessor, NO_ROOM } from './message-processor.ts'

export interface JetStreamMessageProcessorOptions {
  /** Whether all messages come from one consumer, as far as is known. */
  readonly isOneConsumer: boolean
  /** How long the server waits for an answer before it delivers again. */
  readonly ackWaitMs: number
  /** Deliveries of one message after which the server gives up; what may not pass then is given up in time. */
  readonly maxDeliver: number
  /** Messages without an answer at which the server delivers no more. */
  readonly maxAckPending: number
  /** Whether messages can be sent back and kept alive: not where nobody acknowledges. */
  readonly acknowledged: boolean
  /** Whether a message is acknowledged when its handler is done. */
  readonly acks: boolean
}

/** A wait for which a message that has come back is not sent back again. */
const SHORT_MS = 250

/** Messages of a JetStream consumer: each is answered, kept alive while it is held, and sent back where it must be. */
export class JetStreamMessageProcessor<M extends JetStreamMessage> extends MessageProcessor<M> {
  readonly #options: JetStreamMessageProcessorOptions
  readonly #keepAlive: KeepAlive
  readonly #redeliveries: RedeliveryReader
  #newest: M | undefined
  /** Since when handlers are at work. */
  readonly #begunMs = new Map<Delivery, number>()
  readonly #warned = new Set<string>()

  constructor(context: NatsContext, handler: Handler<M>, options: JetStreamMessageProcessorOptions) {
    // Where nothing else is said, how many are at work is the consumer's own `max_ack_pending`.
    super(
      context,
      handler,
      context.settings.isInFlightGiven ? context.settings.maxInFlight : Number.POSITIVE_INFINITY,
    )
    this.#options = options
    this.#redeliveries = new RedeliveryReader(options.isOneConsumer)
    if (context.retries && options.maxDeliver === 1 && options.acknowledged)
      this.#warn(
        'max_deliver',
        'a rule sends messages back (`retry`), but the consumer delivers each once (max_deliver 1): they are given up instead (raise max_deliver, or use throttle)',
      )
    this.#keepAlive = new KeepAlive(context.guard.clock, options.ackWaitMs, cause =>
      context.errorLog.note('answer', cause),
    )
  }

  /** Something that is held may have been delivered again: then the later delivery takes its place. */
  override take(source: M): void {
    this.#newest = source
    if (this.#redeliveries.isRedelivered(source)) {
      this.context.counters.redelivered++
      if (this.held > 0 && this.#keepAlive.replace(source)) return
    }
    super.take(source)
  }

  /** Messages that were still to come when the last one came. */
  get lag(): number | undefined {
    try {
      return this.#newest?.info.pending
    } catch {
      return undefined
    }
  }

  protected override ask(delivery: Delivery): MaybePromise<Decision> {
    const { context } = this
    return context.retries ? this.#askReserved(delivery) : context.guard.ask(delivery)
  }

  /** What has come back to a slot of its own keeps to it; what comes first stands behind those. */
  #askReserved(delivery: Delivery): MaybePromise<Decision> {
    const { retrySlots, guard } = this.context
    if (retrySlots.size === 0) return guard.ask(delivery)
    const message = delivery.source as JetStreamMessage
    const id = idOf(message)
    if (id === undefined) return guard.ask(delivery)
    return this.#deliveries(message) < 2 ? retrySlots.ask(delivery, id) : this.askAgain(delivery)
  }

  /**
   * What has come back and could pass in a moment is held for that moment: the server takes some milliseconds more or
   * less for a delivery, and sent back again it would have to stand behind all others.
   */
  override askAgain(delivery: Delivery): MaybePromise<Decision> {
    const { retrySlots } = this.context
    if (retrySlots.size > 0) retrySlots.forget(idOf(delivery.source as JetStreamMessage) ?? '')
    const answer = super.askAgain(delivery)
    return isPromise(answer)
      ? answer.then(decision => this.#soften(decision, delivery))
      : this.#soften(answer, delivery)
  }

  #soften(decision: Decision, delivery: Delivery): Decision {
    if (decision.outcome !== 'retry' || decision.retryAfterMs > SHORT_MS) return decision
    const isBack = this.#deliveries(delivery.source as JetStreamMessage) > 1
    return isBack ? { ...decision, outcome: 'throttle' } : decision
  }

  protected override handlerBegan(delivery: Delivery): void {
    const { guard, settings } = this.context
    this.#begunMs.set(delivery, guard.clock.now())
    if (settings.keepAliveMs > 0 && this.#options.acknowledged)
      this.#keepAlive.begin(delivery, settings.keepAliveMs)
  }

  protected override handlerEnded(delivery: Delivery): void {
    const { guard, settings } = this.context
    const tookMs = guard.clock.now() - (this.#begunMs.get(delivery) ?? Infinity)
    this.#begunMs.delete(delivery)
    if (settings.keepAliveMs > 0) this.#keepAlive.end(delivery)
    else if (tookMs > this.#options.ackWaitMs && this.#options.acknowledged)
      this.#warn(
        'ack_wait',
        `a handler took ${tookMs} ms, longer than the consumer's ack_wait of ${this.#options.ackWaitMs} ms, so that its message is delivered again meanwhile (set keepAlive, or a longer ack_wait)`,
      )
  }

  /** Messages that wait here, or to come again, are not acknowledged: with enough of them the server delivers no others. */
  #warnIfFull(): void {
    const { maxAckPending } = this.#options
    const pending = this.held + this.context.retrySlots.size
    if (pending < maxAckPending) return
    this.#warn(
      'max_ack_pending',
      `${pending} messages that are held or sent back fill the consumer's max_ack_pending of ${maxAckPending}: it delivers no others until they pass (raise it)`,
    )
  }

  #warn(kind: string, text: string): void {
    if (this.#warned.has(kind)) return
    this.#warned.add(kind)
    this.context.logger.warn({ kind }, text)
  }

  protected override hold(delivery: Delivery, later: boolean): void {
    super.hold(delivery, later)
    if (!this.#options.acknowledged) return
    this.#warnIfFull()
    const id = idOf(delivery.source as JetStreamMessage) ?? `?${this.context.counters.received}`
    this.#keepAlive.add(delivery, id)
    // It may have grown old in the client's own buffer.
    if (!later) this.#keepAlive.tell(delivery)
  }

  protected override unhold(delivery: Delivery, decision?: Decision): void {
    this.#keepAlive.remove(delivery)
    super.unhold(delivery, decision)
    // The handler gets the whole time of an answer, however long the message was held.
    if (decision?.allowed && this.#options.acknowledged) this.#keepAlive.tell(delivery)
  }

  protected refuse(decision: Decision, delivery: Delivery): void {
    const { counters } = this.context
    // Nobody has judged it where a store failed, and no rule drops what only found no room.
    if (
      decision === NO_ROOM ||
      decision.fallback ||
      decision.outcome === 'retry' ||
      this.#isOverflow(decision)
    ) {
      this.#sendBack(decision, delivery)
      return
    }
    switch (decision.outcome) {
      case 'redirect':
        this.#redirect(decision, delivery)
        return
      case 'reject':
        this.#giveUp(decision, delivery)
        return
      default:
        if (decision.outcome !== 'drop') counters.unsupported++
        counters.dropped++
        this.#answer(delivery, 'ack')
    }
  }

  #redirect(decision: Decision, delivery: Delivery): void {
    this.#copy(this.rule(decision)?.exceeded.redirect, decision, delivery, copied => {
      if (copied === 'sent') this.context.counters.redirected++
      else this.context.counters.dropped++
      this.#answer(delivery, 'ack')
    })
  }

  /** It was to be held and found no room, or would have had to wait too long. The rule itself drops nothing. */
  #isOverflow(decision: Decision): boolean {
    const { outcome, hold } = this.rule(decision)?.exceeded ?? {}
    return decision.outcome === 'drop' && outcome === 'throttle' && hold?.then === undefined
  }

  /**
   * One nak, to a slot of its own: to the same time as others all would come back at once, again and again. What is
   * held of the same rule goes first.
   */
  #sendBack(decision: Decision, delivery: Delivery): void {
    const message = delivery.source as JetStreamMessage
    const id = idOf(message)
    const last =
      this.#deliveries(message) >= Math.min(this.#options.maxDeliver, this.context.settings.maxDeliver)
    if (!this.#options.acknowledged || id === undefined) {
      this.context.counters.dropped++
    } else if (last || decision.retryAfterMs === Infinity) {
      this.context.retrySlots.forget(id)
      this.#giveUp(decision, delivery)
    } else {
      this.context.counters.sentBack++
      this.#answer(delivery, 'nak', this.#slotMs(decision, delivery, id))
      this.#warnIfFull()
    }
  }

  #slotMs(decision: Decision, delivery: Delivery, id: string): number {
    const facts = this.rule(decision)
    const aheadMs =
      decision.outcome === 'retry' || facts === undefined ? 0 : (this.held * facts.periodMs) / facts.count
    delivery.decided = {
      ...decision,
      outcome: 'retry',
      retryAfterMs: decision.retryAfterMs + Math.ceil(aheadMs),
    }
    const slot = this.context.retrySlots.ask(delivery, id)
    delivery.decided = undefined
    return slot instanceof Promise ? decision.retryAfterMs : slot.retryAfterMs
  }

  #giveUp(decision: Decision, delivery: Delivery): void {
    this.#copy(this.context.settings.deadLetter, decision, delivery, () => {
      this.context.counters.terminated++
      this.#answer(delivery, 'term')
    })
  }

  /** Answers for a message once its copy is safe, or there is nowhere to send one; else the message goes back. */
  #copy(
    plan: RedirectPlan | undefined,
    decision: Decision,
    delivery: Delivery,
    answer: (copied: Copied) => void,
  ): void {
    const { confirmedPublishes, settings, counters } = this.context
    const withinMs = Math.min(settings.confirmTimeoutMs, Math.max(1, this.#options.ackWaitMs / 2))
    // Some of the time for an answer is gone already.
    if (plan !== undefined && settings.confirm && this.#options.acknowledged) this.#keepAlive.tell(delivery)
    confirmedPublishes.send(plan, decision, delivery, withinMs, copied => {
      if (copied !== 'failed') {
        answer(copied)
        return
      }
      counters.unconfirmed++
      if (this.#options.acknowledged) counters.sentBack++
      this.#answer(delivery, 'nak', settings.errorDelayMs)
    })
  }

  protected sendsBack(delivery: Delivery): boolean {
    delivery.settled = true
    if (this.#options.acknowledged) {
      this.context.counters.sentBack++
      this.#answer(delivery, 'nak')
    } else this.context.counters.dropped++
    return true
  }

  protected succeeded(delivery: Delivery): void {
    if (this.#options.acks) this.#answer(delivery, 'ack')
  }

  protected failed(delivery: Delivery): void {
    const { onError, errorDelayMs } = this.context.settings
    const decision: Decision = {
      allowed: false,
      outcome: 'retry',
      reason: 'ok',
      retryAfterMs: errorDelayMs,
    }
    if (onError === 'term') this.#giveUp(decision, delivery)
    else if (this.#deliveries(delivery.source as JetStreamMessage) >= this.#options.maxDeliver)
      this.#giveUp(decision, delivery)
    else this.#answer(delivery, 'nak', errorDelayMs)
  }

  #deliveries(message: JetStreamMessage): number {
    try {
      return message.info.deliveryCount
    } catch {
      return 1
    }
  }

  /** Answers for a message. A connection that is gone takes no answer: the server delivers again. */
  #answer(delivery: Delivery, how: 'ack' | 'nak' | 'term', delayMs = 0): void {
    if (!this.#options.acknowledged) return
    const message = delivery.source as JetStreamMessage
    try {
      // A delay that is no whole number is delivered again at once; reasons of `term` are not known to older servers.
      if (how === 'ack') acknowledge(message)
      else if (how === 'nak' && delayMs > 0) message.nak(Math.ceil(delayMs))
      else message[how]()
    } catch (cause) {
      this.context.errorLog.note('answer', cause)
    }
  }
}
