import { type Decision, PASSED } from '../../src/core/decision.ts'
import { isPromise, isThenable } from '../../src/core/maybe-promise.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import type { HandlerSlot, KeyInFlight } from '../../src/index.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'
import type { CachedSender } from './cached-sender.ts'
import { ownBytes } from './client-internals.ts'
import type { NatsMessage } from './client-types.ts'
import { degradedView } from './degraded-view.ts'
import { HandlerBacklog } from './handler-queue.ts'
import type { NatsContext } from './limiter-state.ts'
import { Delivery, type Processor } from './message.ts'
import type { MessageLimits } from './message-limits.ts'
import type { Subject } from './subject-cache.ts'

/** Handles a message that may pass. If it throws or rejects, the error is counted and logged. */
export type Handler<M extends NatsMessage> = (message: M, limits: MessageLimits) => unknown

/** Decision for a passed message without a free handler or room to wait for one. */
export const NO_ROOM: Decision = Object.freeze({
  allowed: false,
  outcome: 'drop',
  reason: 'rate_limit_exceeded',
  retryAfterMs: 1_000,
})

/** Processes messages of a source: asks the gate, enacts the outcome and runs the handler. */
export abstract class MessageProcessor<M extends NatsMessage> implements Processor {
  readonly context: NatsContext
  /** Number of messages of this processor that are held. */
  held = 0
  /** True if the application's handler runs here, so that its duration and failures can be isObserved. */
  isObserved = true
  readonly #handler: Handler<M>
  #hasReceived = false
  /** Number of pending handlers, and their maximum. */
  #inFlight = 0
  readonly #maxInFlight: number
  readonly #backlog = new HandlerBacklog()
  /** In-flight slots of pending handlers, if handlers are limited. */
  readonly #slots = new Map<Delivery, HandlerSlot>()

  constructor(context: NatsContext, handler: Handler<M>, maxInFlight: number) {
    this.context = context
    this.#handler = handler
    this.#maxInFlight = maxInFlight
  }

  /** Processes a message: asks the gate and enacts the decision, at once if possible. Never throws. */
  process(source: M): void {
    const { context } = this
    const { senders } = context
    if (!this.#hasReceived) this.#checkFirstMessage(source)
    context.counters.received++
    const subject = senders.subjects.subjectOf(source)
    const sender = senders.hasIdentify ? senders.senderOf(source, subject) : subject
    const delivery = new Delivery(subject.topic, sender.sender, this, source)
    if (subject.isSystem || sender.pending > 0 || context.isDraining) {
      this.#processUnasked(delivery, subject, sender)
      return
    }
    const answer = this.ask(delivery)
    // A promise has no outcome. A message that passes at once needs no other check.
    if ((answer as Decision).outcome === 'deliver') this.#deliver(answer as Decision, delivery)
    else this.#enqueue(delivery, sender, answer)
  }

  /** Checks the client of the first message for missing internal fields. */
  #checkFirstMessage(source: M): void {
    this.#hasReceived = true
    this.context.checkClient(source)
  }

  /** Processes a message that need not be asked about, or not yet. */
  #processUnasked(delivery: Delivery, subject: Subject, sender: CachedSender): void {
    const { context } = this
    if (context.isDraining && this.sendBack(delivery)) return
    if (subject.isSystem && context.isUnlimitedSystem(subject.topic)) this.enact(PASSED, delivery)
    else {
      const waits = sender.held > 0 || sender.mustFollow(delivery)
      this.#enqueue(delivery, sender, waits ? undefined : this.ask(delivery))
    }
  }

  /** Queues a message behind others of its sender, or enacts its answer if it is the first. */
  #enqueue(delivery: Delivery, sender: CachedSender, answer: MaybePromise<Decision> | undefined): void {
    delivery.decided = answer
    sender.senderQueueOf(this.context.guard).admit(delivery, enact, askWaiting)
    if (!delivery.isSettled) this.addHeld(delivery, answer !== undefined && isPromise(answer))
  }

  /** Asks about a new message. */
  protected ask(delivery: Delivery): MaybePromise<Decision> {
    return this.context.guard.ask(delivery)
  }

  /** Asks about a waiting message when its turn has come. */
  askAgain(delivery: Delivery): MaybePromise<Decision> {
    return this.context.guard.ask(delivery)
  }

  /** Enacts a decision. Never throws, because the reader of a connection may be on the stack. */
  enact(decision: Decision, delivery: Delivery): void {
    if (delivery.isSettled) return
    delivery.isSettled = true
    if (delivery.heldId !== undefined) this.removeHeld(delivery, decision)
    try {
      if (decision.outcome === 'deliver') this.#deliver(decision, delivery)
      else if (decision.outcome === 'degrade') this.#degrade(decision, delivery)
      else {
        if (decision.reason !== 'superseded') this.context.refusals.recordRefusal(delivery, decision)
        this.refuse(decision, delivery)
      }
    } catch (cause) {
      this.context.errorLog.logError('answer', cause)
    }
  }

  /** Records a held message and copies its bytes. `later` is true if it only waits for an answer so far. */
  protected addHeld(delivery: Delivery, _later: boolean): void {
    delivery.heldId ??= ''
    ownBytes(delivery.source)
    this.held++
    this.context.held.add(delivery)
  }

  protected removeHeld(delivery: Delivery, _decision?: Decision): void {
    this.held--
    this.context.held.delete(delivery)
    delivery.heldId = undefined
  }

  /** Abandons a held message. It is never enacted. */
  abandon(delivery: Delivery): void {
    if (delivery.isSettled) return
    delivery.isSettled = true
    if (delivery.heldId !== undefined) this.removeHeld(delivery)
    this.sendBack(delivery)
  }

  protected ruleInfoOf({ rule }: Decision): RuleInfo | undefined {
    return rule === undefined ? undefined : this.context.gate.ruleOf(rule)
  }

  /** Enacts a refusal. */
  protected abstract refuse(decision: Decision, delivery: Delivery): void
  /** Returns a message to its sender or server. Returns false if that is not possible. */
  protected abstract sendBack(delivery: Delivery): boolean
  /** Called when a handler has returned a promise. */
  protected onHandlerStart(_delivery: Delivery): void {}
  /** Called when the promise of a handler is settled. */
  protected onHandlerEnd(_delivery: Delivery): void {}
  /** Called when a handler is done. */
  protected abstract onSuccess(delivery: Delivery): void
  /** Called when a handler has failed. */
  protected abstract onFailure(delivery: Delivery): void

  #degrade(decision: Decision, delivery: Delivery): void {
    const plan = this.ruleInfoOf(decision)?.exceeded.degrade
    if (plan !== undefined) {
      const degraded = degradeMessage(plan, delivery, decision)
      delivery.source = degradedView(delivery.source, degraded, this.context.settings.headers)
    }
    this.#deliver(decision, delivery)
  }

  #deliver(decision: Decision, delivery: Delivery, keyInFlight?: KeyInFlight): void {
    if (this.#inFlight >= this.#maxInFlight) this.#queueForHandler(decision, delivery)
    else if (this.context.gate.handlerMonitor.isBounded && this.isObserved)
      this.#runInSlot(decision, delivery, keyInFlight)
    else this.#handle(decision, delivery)
  }

  /** Runs the handler within the in-flight limits, waits for a slot, or refuses the message. */
  #runInSlot(decision: Decision, delivery: Delivery, keyInFlight: KeyInFlight | undefined): void {
    const entered = this.context.gate.handlerMonitor.beginHandler(delivery, keyInFlight)
    if ('release' in entered) {
      this.#slots.set(delivery, entered)
      this.#handle(decision, delivery)
    } else if (entered.decision.outcome !== 'throttle') {
      this.context.gate.forgetPayload(delivery)
      this.context.refusals.recordRefusal(delivery, entered.decision)
      this.refuse(entered.decision, delivery)
    } else if (this.#backlog.addKeyed(delivery)) {
      this.#holdForHandler(decision, delivery)
      entered.wait(next => {
        this.#backlog.removeKeyed(delivery)
        const passed = this.#removeWaiting(delivery)
        if (passed !== undefined) this.#deliver(passed, delivery, next)
      })
    } else this.#refuseForRoom(delivery)
  }

  #releaseSlot(delivery: Delivery): void {
    if (this.#slots.size === 0) return
    const slot = this.#slots.get(delivery)
    this.#slots.delete(delivery)
    slot?.release()
  }

  /** Number of passed messages that wait for a handler. */
  get waiting(): number {
    return this.#backlog.count
  }

  #handle(decision: Decision, delivery: Delivery): void {
    const { context } = this
    const { gate } = context
    context.counters.delivered++
    delivery.decided = decision
    try {
      const result =
        gate.handlerMonitor.isUsed && this.isObserved
          ? this.#handleMonitored(delivery)
          : this.#handler(delivery.source as M, delivery)
      if (isThenable(result)) this.#awaitHandler(result, delivery)
      else {
        this.onSuccess(delivery)
        this.#releaseSlot(delivery)
      }
    } catch (cause) {
      this.#fail(delivery, cause)
      this.#releaseSlot(delivery)
    }
  }

  // In a function of its own, because a closure costs every message a context even if it is not created.
  #handleMonitored(delivery: Delivery): unknown {
    return this.context.gate.handlerMonitor.measure(delivery, () =>
      this.#handler(delivery.source as M, delivery),
    )
  }

  #awaitHandler(result: PromiseLike<unknown>, delivery: Delivery): void {
    this.#inFlight++
    this.context.handlerStarted()
    this.onHandlerStart(delivery)
    // Calls back once and never throws, even for a misbehaving thenable. Native promises are returned unchanged.
    Promise.resolve(result).then(
      () => this.#settleHandler(delivery, undefined),
      (cause: unknown) => this.#settleHandler(delivery, { cause }),
    )
  }

  #settleHandler(delivery: Delivery, failure: { readonly cause: unknown } | undefined): void {
    this.#inFlight--
    this.onHandlerEnd(delivery)
    if (failure === undefined) this.onSuccess(delivery)
    else this.#fail(delivery, failure.cause)
    this.context.handlerEnded()
    this.#releaseSlot(delivery)
    while (this.#inFlight < this.#maxInFlight) {
      const next = this.#backlog.shift()
      if (next === undefined) return
      const passed = this.#removeWaiting(next)
      if (passed !== undefined) this.#deliver(passed, next)
    }
  }

  /** Holds a message until a handler is free, or refuses it if too many wait. */
  #queueForHandler(decision: Decision, delivery: Delivery): void {
    if (this.#backlog.add(delivery)) this.#holdForHandler(decision, delivery)
    else this.#refuseForRoom(delivery)
  }

  #holdForHandler(decision: Decision, delivery: Delivery): void {
    delivery.isSettled = false
    delivery.decided = decision
    this.addHeld(delivery, true)
  }

  #refuseForRoom(delivery: Delivery): void {
    this.context.counters.slow++
    this.refuse(NO_ROOM, delivery)
  }

  /** Runs the handler of a message that waits for one. Returns false if it waits for something else. */
  handleWaiting(delivery: Delivery): boolean {
    const decision = this.#removeWaiting(delivery)
    if (decision === undefined) return false
    this.#handle(decision, delivery)
    return true
  }

  /** Ends a message's wait for a handler. Returns undefined if it waits for something else or was abandoned. */
  #removeWaiting(delivery: Delivery): Decision | undefined {
    const decision = delivery.isSettled ? undefined : delivery.takeDecision()
    if (decision === undefined || isPromise(decision) || !decision.allowed) return undefined
    delivery.isSettled = true
    this.removeHeld(delivery, decision)
    return decision
  }

  #fail(delivery: Delivery, cause: unknown): void {
    this.context.counters.handlerErrors++
    this.context.errorLog.logError('handler', cause)
    this.context.gate.forgetPayload(delivery)
    this.onFailure(delivery)
  }
}

// One function for all messages, so that none is created for each.
function enact(decision: Decision, delivery: Delivery): void {
  delivery.processor.enact(decision, delivery)
}

function askWaiting(delivery: Delivery): MaybePromise<Decision> {
  return delivery.takeDecision() ?? (delivery.processor as MessageProcessor<NatsMessage>).askAgain(delivery)
}
