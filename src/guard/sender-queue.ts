import type { Decision } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { Slice } from '../core/sliced-work.ts'
import { HolderAccount } from './hold-shares.ts'
import { type Entry, LinkedList } from './linked-list.ts'
import { QueuedMessages } from './queued-messages.ts'
import { supersedeAll } from './rule-queue.ts'
import type { QueuedItem } from './sub-queue.ts'
import type {
  Ask,
  Enact,
  HeldKeyQueue,
  QueueOwner,
  SenderQueueBudget,
  SenderQueueHooks,
  SenderQueueOptions,
} from './types.ts'
import { isPassing, overflow } from './types.ts'

/**
 * Questions a lane may have under way at a store that answers later; a throttled head stops them. Also the number
 * of such questions at which a connection is asked to stop reading.
 */
export const MAX_PENDING_CHECKS = 32

interface Held extends Entry {
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** Hooks of the connection that brought it. */
  readonly hooks: SenderQueueHooks
}

/** Outcomes that end a message: it need not follow an older one. */
const REFUSED: ReadonlySet<string> = new Set(['redirect', 'drop', 'reject', 'disconnect', 'retry'])

/**
 * The messages of one sender, in their order. A message that may pass at once never enters it. One that is to be
 * throttled, or whose decision comes later, waits, and all later ones of that sender wait behind it. It may outlive the
 * connection it was made for, and be attached to the sender's next one. Made by `guard.lane()`.
 */
export class SenderQueue implements HeldKeyQueue, QueueOwner {
  /** Messages that wait, here or in queues of rules. A field, because it is read for each message. */
  pending = 0
  /** Called when nothing is pending any more. */
  onIdle: (() => void) | undefined
  readonly #holdBudget: SenderQueueBudget
  #hooks: SenderQueueHooks
  readonly #waiting = new LinkedList<Held>()
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

  constructor(holdBudget: SenderQueueBudget, hooks: SenderQueueHooks, options: SenderQueueOptions = {}) {
    this.#holdBudget = holdBudget
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
    const answer = ask === undefined ? this.#holdBudget.ask(message) : ask(message)
    // The likely case first: most messages pass, and a promise has no outcome.
    if ((answer as Decision).outcome === 'deliver' && this.pending === 0) enact(answer as Decision, message)
    else if (isPromise(answer) || answer.outcome === 'throttle') this.#join(message, enact, ask, answer)
    else this.#finish(answer, message, enact as unknown as Enact<Message>, ask as unknown as Ask<Message>)
  }

  /** Serves another connection of the sender: what it brings follows what is held already. */
  attach(hooks: SenderQueueHooks): void {
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
    let forgotten = this.#filterChunk(keep)
    for (let queued = this.#queued?.oldest; queued; ) {
      const { newer } = queued
      if (!keep(queued.message)) {
        queued.forget()
        this.#holdBudget.discarded(1)
        forgotten++
      }
      queued = newer
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

  newestIn(queue: object): QueuedItem | undefined {
    let entry = this.#queued?.newest
    while (entry !== undefined && (entry.flow.keyQueue.queue !== queue || entry.asking)) entry = entry.older
    return entry
  }

  /** Refuses its newest message that waits, as all room is in use and it holds most. */
  giveWay(): boolean {
    const entry = this.#waiting.pop()
    if (entry === undefined) {
      let newest = this.#queued?.newest
      while (newest?.asking) newest = newest.older
      if (newest === undefined) return false
      newest.flow.keyQueue.queue.refuse(newest, newest.refusal)
      return true
    }
    if (this.#waiting.first === undefined) this.#stopTimer()
    this.#hasLeft(entry)
    this.#holdBudget.overflowed()
    const refusal = entry.decision?.allowed === false ? entry.decision : this.#lastRefusal
    entry.enact(overflow(refusal, this.#holdBudget.boundsOf(refusal).overflow), entry.message)
    this.#settle()
    return true
  }

  /** Gives up what an earlier connection left of QoS 0 for a message that must not be lost. */
  #givesWayTo({ qos }: Message): boolean {
    const { last } = this.#waiting
    if (last === undefined || (qos ?? 0) === 0 || (last.message.qos ?? 0) > 0) return false
    return last.hooks !== this.#hooks && this.giveWay()
  }

  addQueued(entry: QueuedItem): void {
    this.#queued ??= new QueuedMessages(this.#mixesSenders)
    this.#queued.add(entry)
    this.pending++
  }

  removeQueued(entry: QueuedItem): void {
    this.#queued?.remove(entry)
    this.#hooks.onUnpark?.()
    this.#settlePending(1)
  }

  /** Ends all waiting: with a decision all are enacted with it, in order; without, all are forgotten. */
  flush(decision?: Decision): void {
    this.#stopTimer()
    if (decision === undefined) this.#filterChunk(() => false)
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
    older: QueuedItem,
    decision: Decision | undefined,
    message: Message,
    enact: Enact<Message>,
    ask: Ask<Message> | undefined,
  ): void {
    let charged = decision !== undefined && isPassing(decision.outcome) ? decision : undefined
    const askOnce: Ask<Message> = asked => {
      const answer = charged
      charged = undefined
      return answer ?? (ask === undefined ? this.#holdBudget.ask(asked) : ask(asked))
    }
    const toPark = {
      message,
      decision: older.refusal,
      senderQueue: this,
      enact,
      ask: charged === undefined ? ask : askOnce,
      after: older,
    }
    if (this.#holdBudget.park(toPark)) this.#hooks.onQueued?.(message)
    else enact(decision ?? older.refusal, message)
  }

  #hasLeft(entry: Held): void {
    if (entry.hooks === this.#hooks) this.#own--
    this.#holdBudget.release(this, this, entry.sizeBytes)
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
      this.#holdBudget.reserve(this, this, message, message.size) ||
      (this.#givesWayTo(message) && this.#holdBudget.reserve(this, this, message, message.size))
    if (!fits) {
      // Refused in the name of the rule that would have held it, or that holds the head.
      this.#holdBudget.overflowed()
      const refusal = answer !== undefined && !isPromise(answer) ? answer : this.#lastRefusal
      enact(overflow(refusal, this.#holdBudget.boundsOf(refusal).overflow), message)
      return
    }
    const entry: Held = {
      message,
      sizeBytes: message.size,
      sinceMs: this.#holdBudget.clock.now(),
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
    const { version } = this.#holdBudget.work
    answer.then(decision => {
      this.#underWay--
      if (entry.gone) return
      // A refusal from before a change is out of date: it is asked about again.
      if (decision.outcome === 'throttle' && version !== this.#holdBudget.work.version)
        entry.phase = 'waiting'
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
      slice ??= this.#holdBudget.work.slice()
      if (slice.isOver()) {
        this.#isSliced = true
        this.#holdBudget.work.goOnLater(this)
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
        this.#wait(
          entry.sinceMs + this.#holdBudget.boundsOf(decision).maxHoldMs - this.#holdBudget.clock.now(),
        )
      } else {
        this.#holdBudget.overflowed()
        this.#enactFirst(overflow(decision, this.#holdBudget.boundsOf(decision).overflow))
      }
    }
  }

  #ask(entry: Held): MaybePromise<Decision> {
    const older = this.#queued?.newestToFollow(entry.message)
    if (older !== undefined) return { ...older.refusal, outcome: 'queue' }
    return entry.ask === undefined ? this.#holdBudget.ask(entry.message) : entry.ask(entry.message)
  }

  /** Asks about those behind a head whose answer is under way, so that a distant store costs one wait, not one each. */
  #askAhead(): void {
    while (this.#waiting.unasked && !this.#stalled && this.#underWay < MAX_PENDING_CHECKS) {
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
    if (parks && this.#holdBudget.park({ message, decision, senderQueue: this, enact, ask }))
      this.#hooks.onQueued?.(message)
    else enact(decision, message)
  }

  #filterChunk(keep: (message: Message) => boolean): number {
    const head = this.#waiting.first
    let forgotten = 0
    this.#waiting.filterChunk(keep, entry => {
      forgotten++
      this.#holdBudget.release(this, this, entry.sizeBytes)
    })
    this.#settlePending(forgotten)
    if (this.#waiting.first !== head) this.#stopTimer()
    this.#holdBudget.discarded(forgotten)
    return forgotten
  }

  #mayWait(entry: Held, decision: Decision): boolean {
    const waitedMs = this.#holdBudget.clock.now() - entry.sinceMs
    return waitedMs + decision.retryAfterMs <= this.#holdBudget.boundsOf(decision).maxHoldMs
  }

  /** Whether it is held until its time is up, though it could not pass by then as limits are now. */
  #mayStay({ message, sinceMs }: Held, decision: Decision): boolean {
    if (!this.#waitsFully || decision.retryAfterMs === Infinity) return false
    if (message.on !== undefined && message.on !== 'publish') return false
    const { maxHoldMs, isOfRule } = this.#holdBudget.boundsOf(decision)
    return !isOfRule && this.#holdBudget.clock.now() - sinceMs < maxHoldMs
  }

  #wait(ms: number): void {
    this.#stopTimer()
    this.#cancelTimer = this.#holdBudget.clock.after(Math.max(1, ms), () => {
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
      this.#hooks.onResume?.()
    } else if (
      !this.#toldHold &&
      (this.#cancelTimer !== undefined || this.#isSliced || own >= MAX_PENDING_CHECKS)
    ) {
      this.#toldHold = true
      this.#hooks.onPause?.()
    }
  }
}
