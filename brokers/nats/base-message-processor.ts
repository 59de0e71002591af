import type { KeyInFlight } from '../../src/chain/rules/in-flight-slots.ts'
import { type Decision, PASSED } from '../../src/core/decision.ts'
import { isPromise, isThenable } from '../../src/core/maybe-promise.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import type { HandlerSlot } from '../../src/gate/handler-monitor.ts'
import { type Degraded, degradeMessage } from '../../src/outcomes/degrade.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'
import { copyMessageBytes } from './client-internals.ts'
import type { NatsHeaders, NatsMessage } from './client-types.ts'
import { HandlerBacklog } from './handler-backlog.ts'
import { extendHeaders, type HeadersFactory } from './headers.ts'
import type { LimiterContext } from './limiter-context.ts'
import { type DeliveryProcessor, type MessageLimits, ReceivedMessage } from './message.ts'
import type { SenderWithQueue } from './sender-with-queue.ts'
import type { SubjectWithSenderQueue } from './subject-cache.ts'

/** Handles a message that may pass. If it throws or rejects, the error is counted and logged. */
export type Handler<M extends NatsMessage> = (message: M, limits: MessageLimits) => unknown

/** Decision for a passed message without a free handler or room to wait for one. */
export const HANDLER_QUEUE_FULL: Decision = Object.freeze({
  allowed: false,
  outcome: 'drop',
  reason: 'rate_limit_exceeded',
  retryAfterMs: 1_000,
})

/** Processes messages of a source: asks the gate, enacts the outcome and runs the handler. */
export abstract class BaseMessageProcessor<M extends NatsMessage> implements DeliveryProcessor {
  readonly limiter: LimiterContext
  /** Number of messages of this processor that are held. */
  held = 0
  /** True if the application's handler runs here, so that its duration and failures can be observed. */
  hasHandler = true
  readonly #handler: Handler<M>
  #hasReceived = false
  /** Number of pending handlers, and their maximum. */
  #inFlight = 0
  readonly #maxInFlight: number
  readonly #handlerQueue = new HandlerBacklog()
  /** In-flight slots of pending handlers, if handlers are limited. */
  readonly #slots = new Map<ReceivedMessage, HandlerSlot>()

  constructor(limiter: LimiterContext, handler: Handler<M>, maxInFlight: number) {
    this.limiter = limiter
    this.#handler = handler
    this.#maxInFlight = maxInFlight
  }

  /** Processes a message: asks the gate and enacts the decision, at once if possible. Never throws. */
  process(source: M): void {
    const { limiter } = this
    const { senders } = limiter
    if (!this.#hasReceived) this.#checkFirstMessage(source)
    limiter.counters.received++
    const subject = senders.subjects.subjectOf(source)
    const senderWithQueue = senders.hasIdentify ? senders.senderOf(source, subject) : subject
    const message = new ReceivedMessage(subject.topic, senderWithQueue.sender, this, source)
    if (subject.isServerSubject || senderWithQueue.pending > 0 || limiter.isDraining) {
      this.#processUnasked(message, subject, senderWithQueue)
      return
    }
    const answer = this.ask(message)
    // A promise has no outcome. A message that passes at once needs no other check.
    if ((answer as Decision).outcome === 'deliver') this.#deliver(answer as Decision, message)
    else this.#enqueue(message, senderWithQueue, answer)
  }

  /** Checks the client of the first message for missing internal fields. */
  #checkFirstMessage(source: M): void {
    this.#hasReceived = true
    this.limiter.checkClient(source)
  }

  /** Processes a message that need not be asked about, or not yet. */
  #processUnasked(message: ReceivedMessage, subject: SubjectWithSenderQueue, sender: SenderWithQueue): void {
    const { limiter } = this
    if (limiter.isDraining && this.sendBack(message)) return
    if (subject.isServerSubject && limiter.isUnlimitedServerSubject(subject.topic))
      this.enact(PASSED, message)
    else {
      const mustWait = sender.held > 0 || sender.mustFollow(message)
      this.#enqueue(message, sender, mustWait ? undefined : this.ask(message))
    }
  }

  /** Queues a message behind others of its sender, or enacts its answer if it is the first. */
  #enqueue(
    message: ReceivedMessage,
    sender: SenderWithQueue,
    answer: MaybePromise<Decision> | undefined,
  ): void {
    message.knownDecision = answer
    sender.senderQueueOf(this.limiter.guard).admit(message, enact, askWaiting)
    if (!message.isSettled) this.addHeld(message, answer !== undefined && isPromise(answer))
  }

  /** Asks about a new message. */
  protected ask(message: ReceivedMessage): MaybePromise<Decision> {
    return this.limiter.guard.ask(message)
  }

  /** Asks about a waiting message when its turn has come. */
  askAgain(message: ReceivedMessage): MaybePromise<Decision> {
    return this.limiter.guard.ask(message)
  }

  /** Enacts a decision. Never throws, because the reader of a connection may be on the stack. */
  enact(decision: Decision, message: ReceivedMessage): void {
    if (message.isSettled) return
    message.isSettled = true
    if (message.heldId !== undefined) this.removeHeld(message, decision)
    try {
      if (decision.outcome === 'deliver') this.#deliver(decision, message)
      else if (decision.outcome === 'degrade') this.#degrade(decision, message)
      else {
        if (decision.reason !== 'superseded') this.limiter.refusals.recordRefusal(message, decision)
        this.refuse(decision, message)
      }
    } catch (cause) {
      this.limiter.errorLog.logError('a message could not be answered', cause)
    }
  }

  /** Records a held message and copies its bytes. `_isAnswerPending` is true if it only waits for an answer so far. */
  protected addHeld(message: ReceivedMessage, _isAnswerPending: boolean): void {
    message.heldId ??= ''
    copyMessageBytes(message.source)
    this.held++
    this.limiter.held.add(message)
  }

  protected removeHeld(message: ReceivedMessage, _decision?: Decision): void {
    this.held--
    this.limiter.held.delete(message)
    message.heldId = undefined
  }

  /** Abandons a held message. It is never enacted. */
  abandon(message: ReceivedMessage): void {
    if (message.isSettled) return
    message.isSettled = true
    if (message.heldId !== undefined) this.removeHeld(message)
    this.sendBack(message)
  }

  protected ruleInfoOf({ rule }: Decision): RuleInfo | undefined {
    return rule === undefined ? undefined : this.limiter.gate.ruleOf(rule)
  }

  /** Enacts a refusal. */
  protected abstract refuse(decision: Decision, message: ReceivedMessage): void
  /** Returns a message to its sender or server. Returns false if that is not possible. */
  protected abstract sendBack(message: ReceivedMessage): boolean
  /** Called when a handler has returned a promise. */
  protected onHandlerStart(_message: ReceivedMessage): void {}
  /** Called when the promise of a handler is settled. */
  protected onHandlerEnd(_message: ReceivedMessage): void {}
  /** Called when a handler is done. */
  protected abstract onSuccess(message: ReceivedMessage): void
  /** Called when a handler has failed. */
  protected abstract onFailure(message: ReceivedMessage): void

  #degrade(decision: Decision, message: ReceivedMessage): void {
    const plan = this.ruleInfoOf(decision)?.exceeded.degrade
    if (plan !== undefined) {
      const degraded = degradeMessage(plan, message, decision)
      message.source = createDegradedView(message.source, degraded, this.limiter.settings.headers)
    }
    this.#deliver(decision, message)
  }

  #deliver(decision: Decision, message: ReceivedMessage, keyInFlight?: KeyInFlight): void {
    if (this.#inFlight >= this.#maxInFlight) this.#queueForHandler(decision, message)
    else if (this.limiter.gate.handlerMonitor.hasInFlightLimits && this.hasHandler)
      this.#runInSlot(decision, message, keyInFlight)
    else this.#handle(decision, message)
  }

  /** Runs the handler within the in-flight limits, waits for a slot, or refuses the message. */
  #runInSlot(decision: Decision, message: ReceivedMessage, keyInFlight: KeyInFlight | undefined): void {
    const admission = this.limiter.gate.handlerMonitor.beginHandler(message, keyInFlight)
    if ('release' in admission) {
      this.#slots.set(message, admission)
      this.#handle(decision, message)
    } else if (admission.decision.outcome !== 'throttle') {
      this.limiter.gate.forgetPayload(message)
      this.limiter.refusals.recordRefusal(message, admission.decision)
      this.refuse(admission.decision, message)
    } else if (this.#handlerQueue.reserve(message)) {
      this.#holdForHandler(decision, message)
      admission.wait(next => {
        this.#handlerQueue.release(message)
        const passed = this.#removeWaiting(message)
        if (passed !== undefined) this.#deliver(passed, message, next)
      })
    } else this.#refuseForRoom(message)
  }

  #releaseSlot(message: ReceivedMessage): void {
    if (this.#slots.size === 0) return
    const slot = this.#slots.get(message)
    this.#slots.delete(message)
    slot?.release()
  }

  /** Number of passed messages that wait for a handler. */
  get waiting(): number {
    return this.#handlerQueue.count
  }

  #handle(decision: Decision, message: ReceivedMessage): void {
    const { limiter } = this
    const { gate } = limiter
    limiter.counters.delivered++
    message.knownDecision = decision
    try {
      const result =
        gate.handlerMonitor.isUsed && this.hasHandler
          ? this.#handleMonitored(message)
          : this.#handler(message.source as M, message)
      if (isThenable(result)) this.#awaitHandler(result, message)
      else {
        this.onSuccess(message)
        this.#releaseSlot(message)
      }
    } catch (cause) {
      this.#fail(message, cause)
      this.#releaseSlot(message)
    }
  }

  // In a function of its own, because a closure costs every message a context even if it is not created.
  #handleMonitored(message: ReceivedMessage): unknown {
    return this.limiter.gate.handlerMonitor.measure(message, () =>
      this.#handler(message.source as M, message),
    )
  }

  #awaitHandler(result: PromiseLike<unknown>, message: ReceivedMessage): void {
    this.#inFlight++
    this.limiter.pendingWork.start()
    this.onHandlerStart(message)
    // Calls back once and never throws, even for a misbehaving thenable. Native promises are returned unchanged.
    Promise.resolve(result).then(
      () => this.#settleHandler(message, undefined),
      (cause: unknown) => this.#settleHandler(message, { cause }),
    )
  }

  #settleHandler(message: ReceivedMessage, failure: { readonly cause: unknown } | undefined): void {
    this.#inFlight--
    this.onHandlerEnd(message)
    if (failure === undefined) this.onSuccess(message)
    else this.#fail(message, failure.cause)
    this.limiter.pendingWork.end()
    this.#releaseSlot(message)
    while (this.#inFlight < this.#maxInFlight) {
      const next = this.#handlerQueue.shift()
      if (next === undefined) return
      const passed = this.#removeWaiting(next)
      if (passed !== undefined) this.#deliver(passed, next)
    }
  }

  /** Holds a message until a handler is free, or refuses it if too many wait. */
  #queueForHandler(decision: Decision, message: ReceivedMessage): void {
    if (this.#handlerQueue.add(message)) this.#holdForHandler(decision, message)
    else this.#refuseForRoom(message)
  }

  #holdForHandler(decision: Decision, message: ReceivedMessage): void {
    message.isSettled = false
    message.knownDecision = decision
    this.addHeld(message, true)
  }

  #refuseForRoom(message: ReceivedMessage): void {
    this.limiter.counters.slow++
    this.refuse(HANDLER_QUEUE_FULL, message)
  }

  /** Runs the handler of a message that waits for one. Returns false if it waits for something else. */
  handleWaiting(message: ReceivedMessage): boolean {
    const decision = this.#removeWaiting(message)
    if (decision === undefined) return false
    this.#handle(decision, message)
    return true
  }

  /** Ends a message's wait for a handler. Returns undefined if it waits for something else or was abandoned. */
  #removeWaiting(message: ReceivedMessage): Decision | undefined {
    const decision = message.isSettled ? undefined : message.takeDecision()
    if (decision === undefined || isPromise(decision) || !decision.allowed) return undefined
    message.isSettled = true
    this.removeHeld(message, decision)
    return decision
  }

  #fail(message: ReceivedMessage, cause: unknown): void {
    this.limiter.counters.handlerErrors++
    this.limiter.errorLog.logError('the handler failed', cause)
    this.limiter.gate.forgetPayload(message)
    this.onFailure(message)
  }
}

// One function for all messages, so that none is created for each.
function enact(decision: Decision, message: ReceivedMessage): void {
  message.processor.enact(decision, message)
}

function askWaiting(message: ReceivedMessage): MaybePromise<Decision> {
  return message.takeDecision() ?? message.processor.askAgain(message)
}

/**
 * Returns the degraded form of a message: an object with the new payload or headers whose prototype is the client's
 * message, so that `ack` and `respond` still work. Headers are added only if there is a factory.
 */
function createDegradedView(
  message: NatsMessage,
  { payload, headers }: Degraded,
  createHeaders: HeadersFactory | undefined,
): NatsMessage {
  const marked = Object.keys(headers).length > 0 ? extendHeaders(createHeaders, headers, message) : undefined
  if (payload === undefined && marked === undefined) return message
  const overrides: PropertyDescriptorMap = {}
  if (marked !== undefined) overrides.headers = { value: marked satisfies NatsHeaders }
  if (payload !== undefined) {
    overrides.data = { value: payload }
    overrides.string = { value: () => Buffer.from(payload).toString() }
    overrides.json = { value: () => JSON.parse(Buffer.from(payload).toString()) }
  }
  return Object.create(message, overrides) as NatsMessage
}
