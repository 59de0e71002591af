import type { Decision } from '../../src/core/decision.ts'
import { isPromise } from '../../src/core/maybe-promise.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import type { RedirectPlan } from '../../src/outcomes/redirect.ts'
import { KeepAlive, messageIdOf } from './ack-wait-extender.ts'
import { acknowledge, RedeliveryReader } from './client-internals.ts'
import type { JetStreamMessage } from './client-types.ts'
import type { CopyResult } from './confirmed-publish.ts'
import type { NatsContext } from './limiter-state.ts'
import type { Delivery } from './message.ts'
import { type Handler, MessageProcessor, NO_ROOM } from './message-processor.ts'

export interface JetStreamMessageProcessorOptions {
  /** True if all messages are known to come from one consumer. */
  readonly isOneConsumer: boolean
  /** Time the server waits for an answer before it delivers again. */
  readonly ackWaitMs: number
  /** Most deliveries of one message. Messages that may not pass are terminated before. */
  readonly maxDeliver: number
  /** Most unanswered messages before the server stops delivering. */
  readonly maxAckPending: number
  /** True if messages can be sent back and kept alive: false with ack policy `none`. */
  readonly isAcknowledged: boolean
  /** True if a message is acknowledged when its handler is done. */
  readonly acksAutomatically: boolean
}

/** Longest wait for which a redelivered message is held instead of being sent back. */
const SHORT_RETRY_MS = 250

/** Processor of JetStream messages. Answers each, keeps held ones alive, and sends messages back if necessary. */
export class JetStreamMessageProcessor<M extends JetStreamMessage> extends MessageProcessor<M> {
  readonly #options: JetStreamMessageProcessorOptions
  readonly #keepAlive: KeepAlive
  readonly #redeliveries: RedeliveryReader
  #lastMessage: M | undefined
  /** Start time of pending handlers. */
  readonly #startedAtMs = new Map<Delivery, number>()
  readonly #warned = new Set<string>()

  constructor(context: NatsContext, handler: Handler<M>, options: JetStreamMessageProcessorOptions) {
    // Without an option, `max_ack_pending` of the consumer limits the pending handlers.
    super(
      context,
      handler,
      context.settings.isMaxInFlightSet ? context.settings.maxInFlight : Number.POSITIVE_INFINITY,
    )
    this.#options = options
    this.#redeliveries = new RedeliveryReader(options.isOneConsumer)
    if (context.hasRetryRules && options.maxDeliver === 1 && options.isAcknowledged)
      this.#warn(
        'max_deliver',
        'a rule sends messages back (`retry`), but the consumer delivers each only once (max_deliver 1): they are terminated instead (raise max_deliver, or use throttle)',
      )
    this.#keepAlive = new KeepAlive(context.guard.clock, options.ackWaitMs, cause =>
      context.errorLog.logError('answer', cause),
    )
  }

  /** Processes a message. A later delivery of a held message replaces the held one. */
  override process(source: M): void {
    this.#lastMessage = source
    if (this.#redeliveries.isRedelivered(source)) {
      this.context.counters.redelivered++
      if (this.held > 0 && this.#keepAlive.replace(source)) return
    }
    super.process(source)
  }

  /** Number of messages still to come when the last one arrived. */
  get lag(): number | undefined {
    try {
      return this.#lastMessage?.info.pending
    } catch {
      return undefined
    }
  }

  protected override ask(delivery: Delivery): MaybePromise<Decision> {
    const { context } = this
    return context.hasRetryRules ? this.#askWithSlots(delivery) : context.guard.ask(delivery)
  }

  /** Asks with a retry slot. Redelivered messages keep their slot; new ones get later slots. */
  #askWithSlots(delivery: Delivery): MaybePromise<Decision> {
    const { retrySlots, guard } = this.context
    if (retrySlots.size === 0) return guard.ask(delivery)
    const message = delivery.source as JetStreamMessage
    const id = messageIdOf(message)
    if (id === undefined) return guard.ask(delivery)
    return this.#deliveryCount(message) < 2 ? retrySlots.ask(delivery, id) : this.askAgain(delivery)
  }

  /**
   * Asks again about a waiting message. A redelivered message that could pass shortly is held until then. Because
   * deliveries vary by some milliseconds, it would otherwise be sent back behind all others.
   */
  override askAgain(delivery: Delivery): MaybePromise<Decision> {
    const { retrySlots } = this.context
    if (retrySlots.size > 0) retrySlots.forget(messageIdOf(delivery.source as JetStreamMessage) ?? '')
    const answer = super.askAgain(delivery)
    return isPromise(answer)
      ? answer.then(decision => this.#holdShortRetry(decision, delivery))
      : this.#holdShortRetry(answer, delivery)
  }

  #holdShortRetry(decision: Decision, delivery: Delivery): Decision {
    if (decision.outcome !== 'retry' || decision.retryAfterMs > SHORT_RETRY_MS) return decision
    const isBack = this.#deliveryCount(delivery.source as JetStreamMessage) > 1
    return isBack ? { ...decision, outcome: 'throttle' } : decision
  }

  protected override onHandlerStart(delivery: Delivery): void {
    const { guard, settings } = this.context
    this.#startedAtMs.set(delivery, guard.clock.now())
    if (settings.keepAliveMs > 0 && this.#options.isAcknowledged)
      this.#keepAlive.handlerStarted(delivery, settings.keepAliveMs)
  }

  protected override onHandlerEnd(delivery: Delivery): void {
    const { guard, settings } = this.context
    const tookMs = guard.clock.now() - (this.#startedAtMs.get(delivery) ?? Infinity)
    this.#startedAtMs.delete(delivery)
    if (settings.keepAliveMs > 0) this.#keepAlive.handlerEnded(delivery)
    else if (tookMs > this.#options.ackWaitMs && this.#options.isAcknowledged)
      this.#warn(
        'ack_wait',
        `a handler took ${tookMs} ms, longer than the consumer's ack_wait of ${this.#options.ackWaitMs} ms, so its message is delivered again meanwhile (set keepAlive, or a longer ack_wait)`,
      )
  }

  /** Warns if held and returned messages use up `max_ack_pending`. The server then delivers no others. */
  #warnIfFull(): void {
    const { maxAckPending } = this.#options
    const pending = this.held + this.context.retrySlots.size
    if (pending < maxAckPending) return
    this.#warn(
      'max_ack_pending',
      `${pending} held or returned messages use up the consumer's max_ack_pending of ${maxAckPending}: it delivers no others until they pass (raise it)`,
    )
  }

  #warn(kind: string, text: string): void {
    if (this.#warned.has(kind)) return
    this.#warned.add(kind)
    this.context.logger.warn({ kind }, text)
  }

  protected override addHeld(delivery: Delivery, later: boolean): void {
    super.addHeld(delivery, later)
    if (!this.#options.isAcknowledged) return
    this.#warnIfFull()
    const id = messageIdOf(delivery.source as JetStreamMessage) ?? `?${this.context.counters.received}`
    this.#keepAlive.add(delivery, id)
    // It may have waited in the client's buffer.
    if (!later) this.#keepAlive.sendWorking(delivery)
  }

  protected override removeHeld(delivery: Delivery, decision?: Decision): void {
    this.#keepAlive.remove(delivery)
    super.removeHeld(delivery, decision)
    // The handler gets the full ack wait, however long the message was held.
    if (decision?.allowed && this.#options.isAcknowledged) this.#keepAlive.sendWorking(delivery)
  }

  protected refuse(decision: Decision, delivery: Delivery): void {
    const { counters } = this.context
    // A failed store has not judged the message, and a message without room was not dropped by a rule.
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
        this.#terminate(decision, delivery)
        return
      default:
        if (decision.outcome !== 'drop') counters.unsupported++
        counters.dropped++
        this.#answer(delivery, 'ack')
    }
  }

  #redirect(decision: Decision, delivery: Delivery): void {
    this.#publishCopy(this.ruleInfoOf(decision)?.exceeded.redirect, decision, delivery, result => {
      if (result === 'sent') this.context.counters.redirected++
      else this.context.counters.dropped++
      this.#answer(delivery, 'ack')
    })
  }

  /** Returns true if a throttled message found no room or would have waited too long. The rule itself drops nothing. */
  #isOverflow(decision: Decision): boolean {
    const { outcome, hold } = this.ruleInfoOf(decision)?.exceeded ?? {}
    return decision.outcome === 'drop' && outcome === 'throttle' && hold?.then === undefined
  }

  /**
   * Sends a message back with one nak and a delay of its own. Because with one delay for all, all messages would return
   * at the same time. Held messages of the rule go first.
   */
  #sendBack(decision: Decision, delivery: Delivery): void {
    const message = delivery.source as JetStreamMessage
    const id = messageIdOf(message)
    const isLastDelivery =
      this.#deliveryCount(message) >= Math.min(this.#options.maxDeliver, this.context.settings.maxDeliver)
    if (!this.#options.isAcknowledged || id === undefined) {
      this.context.counters.dropped++
    } else if (isLastDelivery || decision.retryAfterMs === Infinity) {
      this.context.retrySlots.forget(id)
      this.#terminate(decision, delivery)
    } else {
      this.context.counters.sentBack++
      this.#answer(delivery, 'nak', this.#retryDelayMs(decision, delivery, id))
      this.#warnIfFull()
    }
  }

  #retryDelayMs(decision: Decision, delivery: Delivery, id: string): number {
    const ruleInfo = this.ruleInfoOf(decision)
    const aheadMs =
      decision.outcome === 'retry' || ruleInfo === undefined
        ? 0
        : (this.held * ruleInfo.periodMs) / ruleInfo.count
    delivery.decided = {
      ...decision,
      outcome: 'retry',
      retryAfterMs: decision.retryAfterMs + Math.ceil(aheadMs),
    }
    const slot = this.context.retrySlots.ask(delivery, id)
    delivery.decided = undefined
    return slot instanceof Promise ? decision.retryAfterMs : slot.retryAfterMs
  }

  #terminate(decision: Decision, delivery: Delivery): void {
    this.#publishCopy(this.context.settings.deadLetter, decision, delivery, () => {
      this.context.counters.terminated++
      this.#answer(delivery, 'term')
    })
  }

  /** Publishes a copy and calls `answer` when it is safe or has no target. Otherwise the message is sent back. */
  #publishCopy(
    plan: RedirectPlan | undefined,
    decision: Decision,
    delivery: Delivery,
    answer: (result: CopyResult) => void,
  ): void {
    const { confirmedPublishes, settings, counters } = this.context
    const withinMs = Math.min(settings.confirmTimeoutMs, Math.max(1, this.#options.ackWaitMs / 2))
    // Part of the ack wait is used up already.
    if (plan !== undefined && settings.confirm && this.#options.isAcknowledged)
      this.#keepAlive.sendWorking(delivery)
    confirmedPublishes.send(plan, decision, delivery, withinMs, result => {
      if (result !== 'failed') {
        answer(result)
        return
      }
      counters.unconfirmed++
      if (this.#options.isAcknowledged) counters.sentBack++
      this.#answer(delivery, 'nak', settings.errorDelayMs)
    })
  }

  protected sendBack(delivery: Delivery): boolean {
    delivery.isSettled = true
    if (this.#options.isAcknowledged) {
      this.context.counters.sentBack++
      this.#answer(delivery, 'nak')
    } else this.context.counters.dropped++
    return true
  }

  protected onSuccess(delivery: Delivery): void {
    if (this.#options.acksAutomatically) this.#answer(delivery, 'ack')
  }

  protected onFailure(delivery: Delivery): void {
    const { onError, errorDelayMs } = this.context.settings
    const decision: Decision = {
      allowed: false,
      outcome: 'retry',
      reason: 'ok',
      retryAfterMs: errorDelayMs,
    }
    if (onError === 'term') this.#terminate(decision, delivery)
    else if (this.#deliveryCount(delivery.source as JetStreamMessage) >= this.#options.maxDeliver)
      this.#terminate(decision, delivery)
    else this.#answer(delivery, 'nak', errorDelayMs)
  }

  #deliveryCount(message: JetStreamMessage): number {
    try {
      return message.info.deliveryCount
    } catch {
      return 1
    }
  }

  /** Answers a message. If the connection is closed, the server delivers it again. */
  #answer(delivery: Delivery, how: 'ack' | 'nak' | 'term', delayMs = 0): void {
    if (!this.#options.isAcknowledged) return
    const message = delivery.source as JetStreamMessage
    try {
      // A fractional delay would be taken as none. Older servers do not know a reason of `term`.
      if (how === 'ack') acknowledge(message)
      else if (how === 'nak' && delayMs > 0) message.nak(Math.ceil(delayMs))
      else message[how]()
    } catch (cause) {
      this.context.errorLog.logError('answer', cause)
    }
  }
}
