import type { Decision } from '../decision.ts'
import { isPromise } from '../maybe-promise.ts'
import type { MaybePromise, Message } from '../message.ts'
import type { Parked } from './flow.ts'
import { HolderAccount } from './hold-shares.ts'
import type { Ask, Enact, HeldLine, LaneHooks, LaneKeeper, LaneOptions, QueueOwner } from './holding.ts'
import { isPassing, overflow } from './holding.ts'
import { QueuedMessages } from './queued-messages.ts'
import { supersedeAll } from './rule-queue.ts'
import type { Slice } from './sliced-work.ts'
import { type Entry, Waiting } from './waiting.ts'

/**
 * Questions a lane may have under way at a store that answers later; a throttled head stops them. Also the number
 * of such questions at which a connection is asked to stop reading.
 */
export const QUESTIONS_AHEAD = 32

interface Held extends Entry {
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** Hooks of the connection that brought it. */
  readonly hooks: LaneHooks
}

/** Outcomes that end a message: it need not follow an older one. */
const REFUSED: ReadonlySet<string> = new Set(['redirect', 'drop', 'reject', 'disconnect', 'retry'])

/**
 * The messages of one sender, in their order. A message that may pass at once never enters it. One that is to be
 * throttled, or whose decision comes later, waits, and all later ones of that sender wait behind it. It may outlive the
 * connection it was made for, and be attached to the sender's next one. Made by `guard.lane()`.
 */
export class Lane implements HeldLine, QueueOwner {
  /** Messages that wait, here or in queues of rules. A field, because it is read for each message. */
  pending = 0
  /** Called when nothing is pending any more. */
  onIdle: (() => void) | undefined
  readonly #keeper: LaneKeeper
  #hooks: LaneHooks
  readonly #waiting = new Waiting<Held>()
  readonly #mixesSenders: boolean
  /** What rules hold of this sender outside its own order; made when first needed. */
  #queued: QueuedMessages | undefined
  /** Messages that wait here and came with the present connection. */
  #own = 0
  askedVersion = 0
  readonly #waitsFully: boolean
  /** It goes on in a later slice. */
  #isSliced = false
  #account: HolderAccount | undefined
  #underWay = 0
  /** One behind the head was refused: nothing more is asked before its turn has come. */
  #stalled = false
  #cancelTimer: (() => void) | undefined
  #lastRefusal: Decision | undefined
  #pumping = false
  #toldHold = false
  #left = false

  constructor(keeper: LaneKeeper, hooks: LaneHooks, options: LaneOptions = {}) {
    this.#keeper = keeper
    this.#hooks = hooks
    this.#mixesSenders = options.mixesSenders === true
    this.#waitsFully = options.waitsFully === true
  }

  /** Messages that wait here. */
  get held(): number {
    return this.#waiting.count
  }

  /** Of these, messages that came with the present connection. */
  get heldOwn(): number {
    return this.#own
  }

  /** Messages that queues of rules hold. */
  get queued(): number {
    return this.#queued === undefined ? 0 : this.#queued.count
  }

  /** Whether an older message of its topic has to go first, which a rule holds. */
  mustFollow(message: Message): boolean {
    return this.#queued?.newestToFollow(message) !== undefined
  }

  /** Payload bytes of those that wait here. */
  get heldBytes(): number {
    return this.#waiting.bytes
  }

  /**
   * Decides about a message and has it enacted: at once where that is possible, else in its turn. `ask` replaces
   * the gate's question for this message.
   */
  admit<M extends Message>(message: M, enact: Enact<M>, ask?: Ask<M>): void {
    if (this.pending > 0 && this.#waitsBehind(message, enact, ask)) return
    const answer = ask === undefined ? this.#keeper.ask(message) : ask(message)
    // The likely case first: most messages pass, and a promise has no outcome.
    if ((answer as Decision).outcome === 'deliver' && this.pending === 0) enact(answer as Decision, message)
    else if (isPromise(answer) || answer.outcome === 'throttle') this.#join(message, enact, ask, answer)
    else this.#finish(answer, message, enact as unknown as Enact<Message>, ask as unknown as Ask<Message>)
  }

  /** Serves another connection of the sender: what it brings follows what is held already. */
  attach(hooks: LaneHooks): void {
    this.#hooks = hooks
    this.#own = 0
    this.#toldHold = false
    this.#left = false
  }

  /**
   * The connection has gone. What `keep` says no to is forgotten: never enacted, counted as discarded. The rest goes
   * its way in order. The hooks are called no more. Answers how many were forgotten.
   */
  leave(keep: (message: Message) => boolean = () => false): number {
    this.#left = true
    this.#hooks = {}
    this.#own = 0
    let forgotten = this.#sift(keep)
    for (let parked = this.#queued?.oldest; parked; ) {
      const { newer } = parked
      if (!keep(parked.message)) {
        parked.forget()
        this.#keeper.discarded(1)
        forgotten++
      }
      parked = newer
    }
    this.#pump()
    return forgotten
  }

  /** Asks again about the first message, if it waits for its time. */
  askAgain(): void {
    if (this.#cancelTimer === undefined) return
    this.#stopTimer()
    this.#pump()
  }

  goOn(): void {
    this.#isSliced = false
    this.#pump()
  }

  get account(): HolderAccount {
    this.#account ??= new HolderAccount(this)
    return this.#account
  }

  newestIn(queue: object): Parked | undefined {
    let entry = this.#queued?.newest
    while (entry !== undefined && (entry.flow.line.queue !== queue || entry.asking)) entry = entry.older
    return entry
  }

  /** Refuses its newest message that waits, as all room is in use and it holds most. */
  giveWay(): boolean {
    const entry = this.#waiting.pop()
    if (entry === undefined) {
      let newest = this.#queued?.newest
      while (newest?.asking) newest = newest.older
      if (newest === undefined) return false
      newest.flow.line.queue.refuse(newest, newest.refusal)
      return true
    }
    if (this.#waiting.first === undefined) this.#stopTimer()
    this.#hasLeft(entry)
    this.#keeper.overflowed()
    const refusal = entry.decision?.allowed === false ? entry.decision : this.#lastRefusal
    entry.enact(overflow(refusal, this.#keeper.boundsOf(refusal).overflow), entry.message)
    this.#settle()
    return true
  }

  /** Gives up what an earlier connection left of QoS 0 for a message that must not be lost. */
  #givesWayTo({ qos }: Message): boolean {
    const { last } = this.#waiting
    if (last === undefined || (qos ?? 0) === 0 || (last.message.qos ?? 0) > 0) return false
    return last.hooks !== this.#hooks && this.giveWay()
  }

  addQueued(entry: Parked): void {
    this.#queued ??= new QueuedMessages(this.#mixesSenders)
    this.#queued.add(entry)
    this.pending++
  }

  removeQueued(entry: Parked): void {
    this.#queued?.remove(entry)
    this.#hooks.onUnpark?.()
    this.#settlePending(1)
  }

  /** Ends all waiting: with a decision all are enacted with it, in order; without, all are forgotten. */
  flush(decision?: Decision): void {
    this.#stopTimer()
    if (decision === undefined) this.#sift(() => false)
    else while (this.#waiting.first) this.#enactFirst(decision)
    this.#settle()
  }

  /** Has a message wait behind those of its sender, where it must; false where it may be asked about. */
  #waitsBehind<M extends Message>(message: M, enact: Enact<M>, ask: Ask<M> | undefined): boolean {
    if (this.#waiting.first !== undefined) {
      this.#join(message, enact, ask, undefined)
      return true
    }
    const older = this.#queued?.newestToFollow(message)
    if (older === undefined) return false
    this.#follow(
      older,
      undefined,
      message,
      enact as unknown as Enact<Message>,
      ask as Ask<Message> | undefined,
    )
    return true
  }

  /** Queues a message behind an older one of its topic; `decision` is the charged one that it has already. */
  #follow(
    older: Parked,
    decision: Decision | undefined,
    message: Message,
    enact: Enact<Message>,
    ask: Ask<Message> | undefined,
  ): void {
    let charged = decision !== undefined && isPassing(decision.outcome) ? decision : undefined
    const askOnce: Ask<Message> = asked => {
      const answer = charged
      charged = undefined
      return answer ?? (ask === undefined ? this.#keeper.ask(asked) : ask(asked))
    }
    const toPark = {
      message,
      decision: older.refusal,
      lane: this,
      enact,
      ask: charged === undefined ? ask : askOnce,
      after: older,
    }
    if (this.#keeper.park(toPark)) this.#hooks.onPark?.(message)
    else enact(decision ?? older.refusal, message)
  }

  #hasLeft(entry: Held): void {
    if (entry.hooks === this.#hooks) this.#own--
    this.#keeper.release(this, this, entry.sizeBytes)
    this.#settlePending(1)
  }

  #settlePending(count: number): void {
    this.pending -= count
    if (count > 0 && this.pending === 0) this.onIdle?.()
  }

  #join<M extends Message>(
    message: M,
    enact: Enact<M>,
    ask: Ask<M> | undefined,
    answer: MaybePromise<Decision> | undefined,
  ): void {
    const fits =
      this.#keeper.reserve(this, this, message, message.size) ||
      (this.#givesWayTo(message) && this.#keeper.reserve(this, this, message, message.size))
    if (!fits) {
      // Refused in the name of the rule that would have held it, or that holds the head.
      this.#keeper.overflowed()
      const refusal = answer !== undefined && !isPromise(answer) ? answer : this.#lastRefusal
      enact(overflow(refusal, this.#keeper.boundsOf(refusal).overflow), message)
      return
    }
    const entry: Held = {
      message,
      sizeBytes: message.size,
      sinceMs: this.#keeper.clock.now(),
      phase: 'waiting',
      decision: undefined,
      gone: false,
      previous: undefined,
      next: undefined,
      // Both are only ever given the very message they came with.
      enact: enact as unknown as Enact<Message>,
      ask: ask as unknown as Ask<Message> | undefined,
      hooks: this.#hooks,
    }
    this.#waiting.append(entry)
    this.pending++
    this.#own++
    if (answer !== undefined) this.#take(entry, answer)
    this.#pump()
  }

  #take(entry: Held, answer: MaybePromise<Decision>): void {
    this.#waiting.asked(entry)
    if (!isPromise(answer)) {
      this.#note(entry, answer)
      return
    }
    entry.phase = 'asking'
    this.#underWay++
    const { version } = this.#keeper.work
    answer.then(decision => {
      this.#underWay--
      if (entry.gone) return
      // A refusal from before a change is out of date: it is asked about again.
      if (decision.outcome === 'throttle' && version !== this.#keeper.work.version) entry.phase = 'waiting'
      else this.#note(entry, decision)
      this.#pump()
    })
  }

  #note(entry: Held, decision: Decision): void {
    entry.decision = decision
    entry.phase = 'decided'
    if (entry !== this.#waiting.first && decision.outcome === 'throttle') {
      // By its turn this answer would be old: it is asked again then, and nobody behind it before.
      entry.phase = 'waiting'
      this.#stalled = true
    }
  }

  #pump(): void {
    if (this.#pumping || this.#isSliced) return
    this.#pumping = true
    let calm = false
    try {
      this.#run()
      calm = true
    } finally {
      this.#pumping = false
      // Whoever enacts may throw; those behind it must not wait for ever.
      if (!calm && this.#waiting.first) this.#wait(1)
    }
    this.#settle()
  }

  #run(): void {
    let slice: Slice | undefined
    while (this.#waiting.first && this.#cancelTimer === undefined) {
      slice ??= this.#keeper.work.slice()
      if (slice.isOver()) {
        this.#isSliced = true
        this.#keeper.work.goOnLater(this)
        return
      }
      const entry = this.#waiting.first
      if (entry.phase === 'waiting') {
        this.#stalled = false
        this.#take(entry, this.#ask(entry))
      }
      if (entry.phase === 'asking') {
        this.#askAhead()
        return
      }
      const decision = entry.decision!
      if (decision.outcome !== 'throttle') {
        this.#enactFirst(decision)
      } else if (this.#mayWait(entry, decision)) {
        this.#lastRefusal = decision
        entry.phase = 'waiting'
        this.#wait(decision.retryAfterMs)
      } else if (this.#mayStay(entry, decision)) {
        this.#lastRefusal = decision
        entry.phase = 'waiting'
        this.#wait(entry.sinceMs + this.#keeper.boundsOf(decision).maxHoldMs - this.#keeper.clock.now())
      } else {
        this.#keeper.overflowed()
        this.#enactFirst(overflow(decision, this.#keeper.boundsOf(decision).overflow))
      }
    }
  }

  #ask(entry: Held): MaybePromise<Decision> {
    const older = this.#queued?.newestToFollow(entry.message)
    if (older !== undefined) return { ...older.refusal, outcome: 'queue' }
    return entry.ask === undefined ? this.#keeper.ask(entry.message) : entry.ask(entry.message)
  }

  /** Asks about those behind a head whose answer is under way, so that a distant store costs one wait, not one each. */
  #askAhead(): void {
    while (this.#waiting.unasked && !this.#stalled && this.#underWay < QUESTIONS_AHEAD) {
      const entry = this.#waiting.unasked
      this.#take(entry, this.#ask(entry))
    }
  }

  #enactFirst(decision: Decision): void {
    const entry = this.#waiting.shift()!
    this.#hasLeft(entry)
    this.#finish(decision, entry.message, entry.enact, entry.ask)
  }

  /** Enacts what is final; what a rule holds outside this order is parked. */
  #finish(decision: Decision, message: Message, enact: Enact<Message>, ask: Ask<Message> | undefined): void {
    const { outcome } = decision
    if (this.#queued !== undefined && this.#queued.count > 0 && !REFUSED.has(outcome)) {
      const older = this.#queued.newestToFollow(message)
      if (older !== undefined) {
        this.#follow(older, decision, message, enact, ask)
        return
      }
      const superseded = isPassing(outcome) ? this.#queued.newestLike(message) : undefined
      if (superseded !== undefined) supersedeAll(superseded)
    }
    const parks = outcome === 'queue' || outcome === 'latest'
    if (parks && this.#keeper.park({ message, decision, lane: this, enact, ask }))
      this.#hooks.onPark?.(message)
    else enact(decision, message)
  }

  #sift(keep: (message: Message) => boolean): number {
    const head = this.#waiting.first
    let forgotten = 0
    this.#waiting.sift(keep, entry => {
      forgotten++
      this.#keeper.release(this, this, entry.sizeBytes)
    })
    this.#settlePending(forgotten)
    if (this.#waiting.first !== head) this.#stopTimer()
    this.#keeper.discarded(forgotten)
    return forgotten
  }

  #mayWait(entry: Held, decision: Decision): boolean {
    const waitedMs = this.#keeper.clock.now() - entry.sinceMs
    return waitedMs + decision.retryAfterMs <= this.#keeper.boundsOf(decision).maxHoldMs
  }

  /** Whether it is held until its time is up, though it could not pass by then as limits are now. */
  #mayStay({ message, sinceMs }: Held, decision: Decision): boolean {
    if (!this.#waitsFully || decision.retryAfterMs === Infinity) return false
    if (message.on !== undefined && message.on !== 'publish') return false
    const { maxHoldMs, isOfRule } = this.#keeper.boundsOf(decision)
    return !isOfRule && this.#keeper.clock.now() - sinceMs < maxHoldMs
  }

  #wait(ms: number): void {
    this.#stopTimer()
    this.#cancelTimer = this.#keeper.clock.after(Math.max(1, ms), () => {
      this.#cancelTimer = undefined
      this.#pump()
    })
  }

  #stopTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  /** Tells the connection when to stop and when to go on reading. */
  #settle(): void {
    if (this.#left) return
    const own = this.#own
    if (own === 0) {
      if (!this.#toldHold) return
      this.#toldHold = false
      this.#hooks.onFree?.()
    } else if (
      !this.#toldHold &&
      (this.#cancelTimer !== undefined || this.#isSliced || own >= QUESTIONS_AHEAD)
    ) {
      this.#toldHold = true
      this.#hooks.onHold?.()
    }
  }
}
