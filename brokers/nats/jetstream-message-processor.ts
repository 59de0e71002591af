import type { Decision } from '../../src/core/decision.ts'
import { isPromise } from '../../src/core/maybe-promise.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import type { RedirectPlan } from '../../src/outcomes/redirect.ts'
import { AckWaitExtender } from './ack-wait-extender.ts'
import { BaseMessageProcessor, HANDLER_QUEUE_FULL, type Handler } from './base-message-processor.ts'
import { acknowledge, RedeliveryDetector } from './client-internals.ts'
import type { ConsumerInfo, JetStreamMessage } from './client-types.ts'
import type { CopyPublishResult } from './confirmed-publish.ts'
import type { LimiterContext } from './limiter-context.ts'
import { jetStreamMessageKey, type ReceivedMessage } from './message.ts'
import type { NatsLimiterSettings } from './options.ts'

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

const NANOS_PER_MS = 1_000_000

/** Returns the processor options for a consumer. */
export function processorOptions(
  info: ConsumerInfo | undefined,
  settings: NatsLimiterSettings,
): JetStreamMessageProcessorOptions {
  const { ack_policy: policy = 'explicit', ack_wait, backoff, max_deliver = -1 } = info?.config ?? {}
  const { max_ack_pending = -1 } = info?.config ?? {}
  // With a backoff the server waits as long as its entry for each delivery.
  const waitsNs = backoff?.length ? backoff : ack_wait ? [ack_wait] : [settings.ackWaitMs * NANOS_PER_MS]
  return {
    isOneConsumer: info !== undefined,
    ackWaitMs: Math.min(...waitsNs) / NANOS_PER_MS,
    maxDeliver: max_deliver > 0 ? max_deliver : Number.POSITIVE_INFINITY,
    maxAckPending: max_ack_pending > 0 ? max_ack_pending : Number.POSITIVE_INFINITY,
    isAcknowledged: policy !== 'none',
    acksAutomatically: settings.ack === 'auto',
  }
}

/** Longest wait for which a redelivered message is held instead of being sent back. */
const SHORT_RETRY_MS = 250

/** Processor of JetStream messages. Answers each, keeps held ones alive, and sends messages back if necessary. */
export class JetStreamMessageProcessor<M extends JetStreamMessage> extends BaseMessageProcessor<M> {
  readonly #options: JetStreamMessageProcessorOptions
  readonly #ackWaitExtender: AckWaitExtender
  readonly #redeliveries: RedeliveryDetector
  #lastMessage: M | undefined
  /** Start time of pending handlers. */
  readonly #startedAtMs = new Map<ReceivedMessage, number>()
  readonly #warned = new Set<string>()

  constructor(limiter: LimiterContext, handler: Handler<M>, options: JetStreamMessageProcessorOptions) {
    // Without an option, `max_ack_pending` of the consumer limits the pending handlers.
    super(
      limiter,
      handler,
      limiter.settings.isMaxInFlightSet ? limiter.settings.maxInFlight : Number.POSITIVE_INFINITY,
    )
    this.#options = options
    this.#redeliveries = new RedeliveryDetector(options.isOneConsumer)
    if (limiter.hasRetryRules && options.maxDeliver === 1 && options.isAcknowledged)
      this.#warn(
        'max_deliver',
        'a rule sends messages back (`retry`), but the consumer delivers each only once (max_deliver 1): they are terminated instead (raise max_deliver, or use throttle)',
      )
    this.#ackWaitExtender = new AckWaitExtender(limiter.guard.clock, options.ackWaitMs, cause =>
      limiter.errorLog.logError('a message could not be answered', cause),
    )
  }

  /** Processes a message. A later delivery of a held message replaces the held one. */
  override process(source: M): void {
    this.#lastMessage = source
    if (this.#redeliveries.isRedelivered(source)) {
      this.limiter.counters.redelivered++
      if (this.held > 0 && this.#ackWaitExtender.replace(source)) return
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

  protected override ask(message: ReceivedMessage): MaybePromise<Decision> {
    const { limiter } = this
    return limiter.hasRetryRules ? this.#askWithSlots(message) : limiter.guard.ask(message)
  }

  /** Asks with a redelivery slot. Redelivered messages keep their slot; new ones get later slots. */
  #askWithSlots(message: ReceivedMessage): MaybePromise<Decision> {
    const { redeliverySlots, guard } = this.limiter
    if (redeliverySlots.size === 0) return guard.ask(message)
    const source = message.source as JetStreamMessage
    const id = jetStreamMessageKey(source)
    if (id === undefined) return guard.ask(message)
    return this.#deliveryCount(source) < 2 ? redeliverySlots.ask(message, id) : this.askAgain(message)
  }

  /**
   * Asks again about a waiting message. A redelivered message that could pass shortly is held until then. Because
   * deliveries vary by some milliseconds, it would otherwise be sent back behind all others.
   */
  override askAgain(message: ReceivedMessage): MaybePromise<Decision> {
    const { redeliverySlots } = this.limiter
    if (redeliverySlots.size > 0)
      redeliverySlots.forget(jetStreamMessageKey(message.source as JetStreamMessage) ?? '')
    const answer = super.askAgain(message)
    return isPromise(answer)
      ? answer.then(decision => this.#holdShortRetry(decision, message))
      : this.#holdShortRetry(answer, message)
  }

  #holdShortRetry(decision: Decision, message: ReceivedMessage): Decision {
    if (decision.outcome !== 'retry' || decision.retryAfterMs > SHORT_RETRY_MS) return decision
    const isBack = this.#deliveryCount(message.source as JetStreamMessage) > 1
    return isBack ? { ...decision, outcome: 'throttle' } : decision
  }

  protected override onHandlerStart(message: ReceivedMessage): void {
    const { guard, settings } = this.limiter
    this.#startedAtMs.set(message, guard.clock.now())
    if (settings.keepAliveMs > 0 && this.#options.isAcknowledged)
      this.#ackWaitExtender.onHandlerStart(message, settings.keepAliveMs)
  }

  protected override onHandlerEnd(message: ReceivedMessage): void {
    const { guard, settings } = this.limiter
    const tookMs = guard.clock.now() - (this.#startedAtMs.get(message) ?? Infinity)
    this.#startedAtMs.delete(message)
    if (settings.keepAliveMs > 0) this.#ackWaitExtender.onHandlerEnd(message)
    else if (tookMs > this.#options.ackWaitMs && this.#options.isAcknowledged)
      this.#warn(
        'ack_wait',
        `a handler took ${tookMs} ms, longer than the consumer's ack_wait of ${this.#options.ackWaitMs} ms, so its message is delivered again meanwhile (set keepAlive, or a longer ack_wait)`,
      )
  }

  /** Warns if held and returned messages use up `max_ack_pending`. The server then delivers no others. */
  #warnIfFull(): void {
    const { maxAckPending } = this.#options
    const pending = this.held + this.limiter.redeliverySlots.size
    if (pending < maxAckPending) return
    this.#warn(
      'max_ack_pending',
      `${pending} held or returned messages use up the consumer's max_ack_pending of ${maxAckPending}: it delivers no others until they pass (raise it)`,
    )
  }

  #warn(kind: string, text: string): void {
    if (this.#warned.has(kind)) return
    this.#warned.add(kind)
    this.limiter.logger.warn({ kind }, text)
  }

  protected override addHeld(message: ReceivedMessage, isAnswerPending: boolean): void {
    super.addHeld(message, isAnswerPending)
    if (!this.#options.isAcknowledged) return
    this.#warnIfFull()
    const id = jetStreamMessageKey(message.source as JetStreamMessage) ?? `?${this.limiter.counters.received}`
    this.#ackWaitExtender.add(message, id)
    // It may have waited in the client's buffer.
    if (!isAnswerPending) this.#ackWaitExtender.sendWorking(message)
  }

  protected override removeHeld(message: ReceivedMessage, decision?: Decision): void {
    this.#ackWaitExtender.remove(message)
    super.removeHeld(message, decision)
    // The handler gets the full ack wait, however long the message was held.
    if (decision?.allowed && this.#options.isAcknowledged) this.#ackWaitExtender.sendWorking(message)
  }

  protected refuse(decision: Decision, message: ReceivedMessage): void {
    const { counters } = this.limiter
    // A failed store has not judged the message, and a message without room was not dropped by a rule.
    if (
      decision === HANDLER_QUEUE_FULL ||
      decision.fallback ||
      decision.outcome === 'retry' ||
      this.#isOverflow(decision)
    ) {
      this.#sendBack(decision, message)
      return
    }
    switch (decision.outcome) {
      case 'redirect':
        this.#redirect(decision, message)
        return
      case 'reject':
        this.#terminate(decision, message)
        return
      default:
        if (decision.outcome !== 'drop') counters.unsupported++
        counters.dropped++
        this.#answer(message, 'ack')
    }
  }

  #redirect(decision: Decision, message: ReceivedMessage): void {
    this.#publishCopy(this.ruleInfoOf(decision)?.exceeded.redirect, decision, message, result => {
      if (result === 'sent') this.limiter.counters.redirected++
      else this.limiter.counters.dropped++
      this.#answer(message, 'ack')
    })
  }

  /** Returns true if a throttled message found no room or would have waited too long. The rule itself drops nothing. */
  #isOverflow(decision: Decision): boolean {
    const { outcome, hold } = this.ruleInfoOf(decision)?.exceeded ?? {}
    return decision.outcome === 'drop' && outcome === 'throttle' && hold?.then === undefined
  }

  /**
   * Sends a message back with one nak and a delay of its own. Why: with one delay for all, all messages would return at
   * the same time. Held messages of the rule go first.
   */
  #sendBack(decision: Decision, message: ReceivedMessage): void {
    const source = message.source as JetStreamMessage
    const id = jetStreamMessageKey(source)
    const isLastDelivery =
      this.#deliveryCount(source) >= Math.min(this.#options.maxDeliver, this.limiter.settings.maxDeliver)
    if (!this.#options.isAcknowledged || id === undefined) {
      this.limiter.counters.dropped++
    } else if (isLastDelivery || decision.retryAfterMs === Infinity) {
      this.limiter.redeliverySlots.forget(id)
      this.#terminate(decision, message)
    } else {
      this.limiter.counters.sentBack++
      this.#answer(message, 'nak', this.#retryDelayMs(decision, message, id))
      this.#warnIfFull()
    }
  }

  #retryDelayMs(decision: Decision, message: ReceivedMessage, id: string): number {
    const ruleInfo = this.ruleInfoOf(decision)
    const aheadMs =
      decision.outcome === 'retry' || ruleInfo === undefined
        ? 0
        : (this.held * ruleInfo.periodMs) / ruleInfo.count
    message.knownDecision = {
      ...decision,
      outcome: 'retry',
      retryAfterMs: decision.retryAfterMs + Math.ceil(aheadMs),
    }
    const slot = this.limiter.redeliverySlots.ask(message, id)
    message.knownDecision = undefined
    return slot instanceof Promise ? decision.retryAfterMs : slot.retryAfterMs
  }

  #terminate(decision: Decision, message: ReceivedMessage): void {
    this.#publishCopy(this.limiter.settings.deadLetter, decision, message, () => {
      this.limiter.counters.terminated++
      this.#answer(message, 'term')
    })
  }

  /** Publishes a copy and calls `answer` when it is safe or has no target. Otherwise the message is sent back. */
  #publishCopy(
    plan: RedirectPlan | undefined,
    decision: Decision,
    message: ReceivedMessage,
    answer: (result: CopyPublishResult) => void,
  ): void {
    const { confirmedPublishes, settings, counters } = this.limiter
    const withinMs = Math.min(settings.confirmTimeoutMs, Math.max(1, this.#options.ackWaitMs / 2))
    // Part of the ack wait is used up already.
    if (plan !== undefined && settings.confirm && this.#options.isAcknowledged)
      this.#ackWaitExtender.sendWorking(message)
    confirmedPublishes.send(plan, decision, message, withinMs, result => {
      if (result !== 'failed') {
        answer(result)
        return
      }
      counters.unconfirmed++
      if (this.#options.isAcknowledged) counters.sentBack++
      this.#answer(message, 'nak', settings.errorDelayMs)
    })
  }

  protected sendBack(message: ReceivedMessage): boolean {
    message.isSettled = true
    if (this.#options.isAcknowledged) {
      this.limiter.counters.sentBack++
      this.#answer(message, 'nak')
    } else this.limiter.counters.dropped++
    return true
  }

  protected onSuccess(message: ReceivedMessage): void {
    if (this.#options.acksAutomatically) this.#answer(message, 'ack')
  }

  protected onFailure(message: ReceivedMessage): void {
    const { onError, errorDelayMs } = this.limiter.settings
    const decision: Decision = {
      allowed: false,
      outcome: 'retry',
      reason: 'ok',
      retryAfterMs: errorDelayMs,
    }
    if (onError === 'term') this.#terminate(decision, message)
    else if (this.#deliveryCount(message.source as JetStreamMessage) >= this.#options.maxDeliver)
      this.#terminate(decision, message)
    else this.#answer(message, 'nak', errorDelayMs)
  }

  #deliveryCount(source: JetStreamMessage): number {
    try {
      return source.info.deliveryCount
    } catch {
      return 1
    }
  }

  /** Answers a message. If the connection is closed, the server delivers it again. */
  #answer(message: ReceivedMessage, ackKind: 'ack' | 'nak' | 'term', delayMs = 0): void {
    if (!this.#options.isAcknowledged) return
    const source = message.source as JetStreamMessage
    try {
      // A fractional delay would be taken as none. Older servers do not know a reason of `term`.
      if (ackKind === 'ack') acknowledge(source)
      else if (ackKind === 'nak' && delayMs > 0) source.nak(Math.ceil(delayMs))
      else source[ackKind]()
    } catch (cause) {
      this.limiter.errorLog.logError('a message could not be answered', cause)
    }
  }
}
