import { type Decision, PASSED } from '../../src/core/decision.ts'
import { isPromise, isThenable } from '../../src/core/maybe-promise.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import type { HandlerSlot, KeyInFlight } from '../../src/index.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'
import type { Place } from './cached-sender.ts'
import type { NatsMessage } from './client.ts'
import { ownBytes } from './client-internals.ts'
import type { NatsContext } from './context.ts'
import { degradedView } from './degraded-view.ts'
import { Delivery, type Processor } from './delivery.ts'
import { HandlerBacklog } from './handler-backlog.ts'
import type { MessageLimits } from './message-limits.ts'
import type { Subject } from './subject-cache.ts'

/** Handles a message that may pass. What it throws, or rejects with, is caught, counted and logged. */
export type Handler<M extends NatsMessage> = (message: M, limits: MessageLimits) => unknown

/** Of a message that may pass and finds all handlers at work, and no room to wait for one. */
export const NO_ROOM: Decision = Object.freeze({
  allowed: false,
  outcome: 'drop',
  reason: 'rate_limit_exceeded',
  retryAfterMs: 1_000,
})

/** How an outcome is enacted on one message; what is not allowed ends in one of the last three. */
export abstract class MessageProcessor<M extends NatsMessage> implements Processor {
  readonly context: NatsContext
  /** Held now, of this course. */
  held = 0
  /** Whether its handler is the application's own, whose time and failures say something. */
  observed = true
  readonly #handler: Handler<M>
  #hasBegun = false
  /** Handlers that have not answered yet, and how many there may be at once. */
  #underWay = 0
  readonly #most: number
  readonly #backlog = new HandlerBacklog()
  /** Of handlers at work, where limits of such are in force. */
  readonly #slots = new Map<Delivery, HandlerSlot>()

  constructor(context: NatsContext, handler: Handler<M>, most: number) {
    this.context = context
    this.#handler = handler
    this.#most = most
  }

  /** The way of one message: asked about, and enacted at once where that is possible. Never throws. */
  take(source: M): void {
    const { context } = this
    const { senders } = context
    if (!this.#hasBegun) this.#begin(source)
    context.counters.received++
    const subject = senders.subjects.of(source)
    const place = senders.identifies ? senders.placeOf(source, subject) : subject
    const delivery = new Delivery(subject.topic, place.sender, this, source)
    if (subject.isSystem || place.pending > 0 || context.draining) {
      this.#takeAside(delivery, subject, place)
      return
    }
    const answer = this.ask(delivery)
    // A promise has no outcome: what may pass at once costs no other look.
    if ((answer as Decision).outcome === 'deliver') this.#deliver(answer as Decision, delivery)
    else this.#admit(delivery, place, answer)
  }

  /** Looks at the first message for what of its client is used and not public. */
  #begin(source: M): void {
    this.#hasBegun = true
    this.context.checkClient(source)
  }

  /** One that need not be asked about, or not yet. */
  #takeAside(delivery: Delivery, subject: Subject, place: Place): void {
    const { context } = this
    if (context.draining && this.sendsBack(delivery)) return
    if (subject.isSystem && context.isLeftOut(subject.topic)) this.enact(PASSED, delivery)
    else {
      const waits = place.held > 0 || place.mustFollow(delivery)
      this.#admit(delivery, place, waits ? undefined : this.ask(delivery))
    }
  }

  /** Has a message wait for its turn among those of its sender, or its answer enacted where it is the first. */
  #admit(delivery: Delivery, place: Place, answer: MaybePromise<Decision> | undefined): void {
    delivery.decided = answer
    place.senderQueueOf(this.context.guard).admit(delivery, enact, askInTurn)
    if (!delivery.settled) this.hold(delivery, answer !== undefined && isPromise(answer))
  }

  /** The first question about a message. */
  protected ask(delivery: Delivery): MaybePromise<Decision> {
    return this.context.guard.ask(delivery)
  }

  /** The question about a message that waits, when its turn has come. */
  askAgain(delivery: Delivery): MaybePromise<Decision> {
    return this.context.guard.ask(delivery)
  }

  /** Does with a message what was decided. Never throws: the reader of a connection may be on the stack. */
  enact(decision: Decision, delivery: Delivery): void {
    if (delivery.settled) return
    delivery.settled = true
    if (delivery.heldAs !== undefined) this.unhold(delivery, decision)
    try {
      if (decision.outcome === 'deliver') this.#deliver(decision, delivery)
      else if (decision.outcome === 'degrade') this.#degrade(decision, delivery)
      else {
        if (decision.reason !== 'superseded') this.context.refusals.recordRefusal(delivery, decision)
        this.refuse(decision, delivery)
      }
    } catch (cause) {
      this.context.errorLog.note('answer', cause)
    }
  }

  /** Keeps account of a message that waits, and gives it bytes of its own. `later`: for no more than an answer, as yet. */
  protected hold(delivery: Delivery, _later: boolean): void {
    delivery.heldAs ??= ''
    ownBytes(delivery.source)
    this.held++
    this.context.held.add(delivery)
  }

  protected unhold(delivery: Delivery, _decision?: Decision): void {
    this.held--
    this.context.held.delete(delivery)
    delivery.heldAs = undefined
  }

  /** Gives up waiting for a message: nobody enacts it any more. */
  abandon(delivery: Delivery): void {
    if (delivery.settled) return
    delivery.settled = true
    if (delivery.heldAs !== undefined) this.unhold(delivery)
    this.sendsBack(delivery)
  }

  protected rule({ rule }: Decision): RuleInfo | undefined {
    return rule === undefined ? undefined : this.context.gate.ruleOf(rule)
  }

  /** Enacts a refusal. */
  protected abstract refuse(decision: Decision, delivery: Delivery): void
  /** Gives a message back to whoever sent it; false where that is nobody's. */
  protected abstract sendsBack(delivery: Delivery): boolean
  /** Its handler has returned a promise. */
  protected handlerBegan(_delivery: Delivery): void {}
  /** The promise of its handler is settled. */
  protected handlerEnded(_delivery: Delivery): void {}
  /** Its handler is done. */
  protected abstract succeeded(delivery: Delivery): void
  /** Its handler failed. */
  protected abstract failed(delivery: Delivery): void

  #degrade(decision: Decision, delivery: Delivery): void {
    const plan = this.rule(decision)?.exceeded.degrade
    if (plan !== undefined) {
      const degraded = degradeMessage(plan, delivery, decision)
      delivery.source = degradedView(delivery.source, degraded, this.context.settings.headers)
    }
    this.#deliver(decision, delivery)
  }

  #deliver(decision: Decision, delivery: Delivery, turn?: KeyInFlight): void {
    if (this.#underWay >= this.#most) this.#waitForTurn(decision, delivery)
    else if (this.context.gate.handlerMonitor.isBounded && this.observed)
      this.#enter(decision, delivery, turn)
    else this.#handle(decision, delivery)
  }

  /** Hands a message on within the limits of handlers at work, has it wait for one of them to end, or refuses it. */
  #enter(decision: Decision, delivery: Delivery, turn: KeyInFlight | undefined): void {
    const entered = this.context.gate.handlerMonitor.beginHandler(delivery, turn)
    if ('release' in entered) {
      this.#slots.set(delivery, entered)
      this.#handle(decision, delivery)
    } else if (entered.decision.outcome !== 'throttle') {
      this.context.refusals.recordRefusal(delivery, entered.decision)
      this.refuse(entered.decision, delivery)
    } else if (this.#backlog.addApart(delivery)) {
      this.#holdForHandler(decision, delivery)
      entered.wait(next => {
        this.#backlog.removeApart(delivery)
        const passed = this.#takeWaiting(delivery)
        if (passed !== undefined) this.#deliver(passed, delivery, next)
      })
    } else this.#refuseForRoom(delivery)
  }

  #leave(delivery: Delivery): void {
    if (this.#slots.size === 0) return
    const slot = this.#slots.get(delivery)
    this.#slots.delete(delivery)
    slot?.release()
  }

  /** Messages that may pass and wait for a handler. */
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
        gate.handlerMonitor.isUsed && this.observed
          ? this.#handleWatched(delivery)
          : this.#handler(delivery.source as M, delivery)
      if (isThenable(result)) this.#await(result, delivery)
      else {
        this.succeeded(delivery)
        this.#leave(delivery)
      }
    } catch (cause) {
      this.#fail(delivery, cause)
      this.#leave(delivery)
    }
  }

  // Closures stand apart: where one is, each message pays for a context, whether it is made or not.
  #handleWatched(delivery: Delivery): unknown {
    return this.context.gate.handlerMonitor.measure(delivery, () =>
      this.#handler(delivery.source as M, delivery),
    )
  }

  #await(result: PromiseLike<unknown>, delivery: Delivery): void {
    this.#underWay++
    this.context.began()
    this.handlerBegan(delivery)
    // A promise of its own answers once and throws nothing, whatever another thenable does. Of promises it makes none.
    Promise.resolve(result).then(
      () => this.#ended(delivery, undefined),
      (cause: unknown) => this.#ended(delivery, { cause }),
    )
  }

  #ended(delivery: Delivery, failure: { readonly cause: unknown } | undefined): void {
    this.#underWay--
    this.handlerEnded(delivery)
    if (failure === undefined) this.succeeded(delivery)
    else this.#fail(delivery, failure.cause)
    this.context.ended()
    this.#leave(delivery)
    while (this.#underWay < this.#most) {
      const next = this.#backlog.take()
      if (next === undefined) return
      const passed = this.#takeWaiting(next)
      if (passed !== undefined) this.#deliver(passed, next)
    }
  }

  /** All handlers there may be are at work: it is held until one of them is done, or refused where too many wait. */
  #waitForTurn(decision: Decision, delivery: Delivery): void {
    if (this.#backlog.add(delivery)) this.#holdForHandler(decision, delivery)
    else this.#refuseForRoom(delivery)
  }

  #holdForHandler(decision: Decision, delivery: Delivery): void {
    delivery.settled = false
    delivery.decided = decision
    this.hold(delivery, true)
  }

  #refuseForRoom(delivery: Delivery): void {
    this.context.counters.slow++
    this.refuse(NO_ROOM, delivery)
  }

  /** Hands on a message that waits for a handler, at once; false where it waits for something else. */
  passWaiting(delivery: Delivery): boolean {
    const decision = this.#takeWaiting(delivery)
    if (decision === undefined) return false
    this.#handle(decision, delivery)
    return true
  }

  /** Ends the wait of a message for a handler; undefined where it waits for something else, or was given up. */
  #takeWaiting(delivery: Delivery): Decision | undefined {
    const decision = delivery.settled ? undefined : delivery.takeDecision()
    if (decision === undefined || isPromise(decision) || !decision.allowed) return undefined
    delivery.settled = true
    this.unhold(delivery, decision)
    return decision
  }

  #fail(delivery: Delivery, cause: unknown): void {
    this.context.counters.handlerErrors++
    this.context.errorLog.note('handler', cause)
    this.failed(delivery)
  }
}

/** One function for all messages: none is made for each. */
function enact(decision: Decision, delivery: Delivery): void {
  delivery.processor.enact(decision, delivery)
}

function askInTurn(delivery: Delivery): MaybePromise<Decision> {
  return delivery.takeDecision() ?? (delivery.processor as MessageProcessor<NatsMessage>).askAgain(delivery)
}
