import type { Decision } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { WorkSlice } from '../core/sliced-work.ts'
import type { Ask, Enact, SenderQueueHooks, SenderQueueOptions } from './guard-types.ts'
import { createOverflowRefusal, isPassing } from './guard-types.ts'
import type { HeldQueue, HoldBudget } from './hold-budget.ts'
import { HeldMessageAccount } from './hold-eviction-policy.ts'
import { type QueuedItem, supersedeAll } from './rule-queue.ts'
import type { RuleQueues } from './rule-queues.ts'
import { SenderQueuedMessages } from './sender-queued-messages.ts'
import { type WaitingMessage, WaitingMessageList } from './waiting-message-list.ts'

/**
 * Most checks of a sender queue in progress at a remote store. A throttled first message stops them. At this number
 * the connection is also asked to stop reading.
 */
export const MAX_PENDING_CHECKS = 32

/** Outcomes that end a message. It need not follow an older one. */
const FINAL_OUTCOMES: ReadonlySet<string> = new Set(['redirect', 'drop', 'reject', 'disconnect', 'retry'])

/**
 * Messages of one sender, in order. A message that passes at once never enters the queue. A message that is
 * throttled, or whose decision comes later, waits, and all later messages of the sender wait behind it. The queue may
 * outlive its connection and be attached to the sender's next one. Created by `guard.senderQueue()`.
 */
export class SenderQueue implements HeldQueue {
  /** Messages that wait, here or in rule queues. A field, because it is read for each message. */
  pending = 0
  /** Called when no message is pending any more. */
  onIdle: (() => void) | undefined
  readonly #holdBudget: HoldBudget
  readonly #ruleQueues: RuleQueues
  #hooks: SenderQueueHooks
  readonly #waiting = new WaitingMessageList()
  readonly #mixesSenders: boolean
  #queued: SenderQueuedMessages<QueuedItem> | undefined
  /** Messages that wait here and came with the current connection. */
  #heldOwn = 0
  askedVersion = 0
  readonly #waitsFully: boolean
  /** True if it continues in a later slice. */
  #isSliced = false
  #account: HeldMessageAccount | undefined
  #checksInProgress = 0
  /** True after a message behind the first was refused. No further checks start before its turn. */
  #isStalled = false
  #cancelTimer: (() => void) | undefined
  #lastRefusal: Decision | undefined
  #isPumping = false
  #isPaused = false
  #isDetached = false
  /** True if messages that would have to wait are discarded. */
  #isHoldingEnded = false

  constructor(
    holdBudget: HoldBudget,
    ruleQueues: RuleQueues,
    hooks: SenderQueueHooks,
    options: SenderQueueOptions = {},
  ) {
    this.#holdBudget = holdBudget
    this.#ruleQueues = ruleQueues
    this.#hooks = hooks
    this.#mixesSenders = options.mixesSenders === true
    this.#waitsFully = options.waitsFully === true
  }

  /** Number of messages that wait here. */
  get held(): number {
    return this.#waiting.count
  }

  /** Number of waiting messages that came with the current connection. */
  get heldOwn(): number {
    return this.#heldOwn
  }

  /** Number of messages in rule queues. */
  get queued(): number {
    return this.#queued === undefined ? 0 : this.#queued.count
  }

  /** Returns true if a rule queue holds an older message of the topic, which must go first. */
  mustFollow(message: Message): boolean {
    return this.#queued?.newestToFollow(message) !== undefined
  }

  /** Payload bytes of the messages that wait here. */
  get heldBytes(): number {
    return this.#waiting.bytes
  }

  /**
   * Decides about a message and enacts the decision: at once if possible, else in its turn. `ask` replaces the gate's
   * check for this message.
   */
  admit<M extends Message>(message: M, enact: Enact<M>, ask?: Ask<M>): void {
    if (this.pending > 0 && this.#appendIfBlocked(message, enact, ask)) return
    const answer = ask === undefined ? this.#ruleQueues.ask(message) : ask(message)
    // The most frequent case first: most messages pass, and a promise has no outcome.
    if ((answer as Decision).outcome === 'deliver' && this.pending === 0) enact(answer as Decision, message)
    else if (isPromise(answer) || answer.outcome === 'throttle') this.#append(message, enact, ask, answer)
    else this.#enactOrQueue(answer, message, enact as Enact<Message>, ask as Ask<Message>)
  }

  /** Serves another connection of the sender, or the same again. Its messages follow those already held. */
  attach(hooks: SenderQueueHooks): void {
    this.#hooks = hooks
    this.#heldOwn = 0
    for (let entry = this.#waiting.first; entry !== undefined; entry = entry.next)
      if (entry.hooks === hooks) this.#heldOwn++
    this.#isPaused = false
    this.#isDetached = false
  }

  /**
   * Detaches the queue when its connection has ended. Messages for which `keep` returns false are discarded: never
   * enacted, but counted. The others continue in order. The hooks are not called any more. Returns the number discarded.
   */
  detach(keep: (message: Message) => boolean = () => false): number {
    this.#isDetached = true
    this.#hooks = {}
    this.#heldOwn = 0
    let discarded = this.#discardUnless(keep)
    for (let queued = this.#queued?.oldest; queued; ) {
      const { newer } = queued
      if (!keep(queued.message)) {
        queued.ruleQueue.discard(queued)
        discarded++
      }
      queued = newer
    }
    this.#pump()
    return discarded
  }

  /** Lets messages pass that the limits allow now, and from now on discards those that would have to wait. */
  endHolding(): void {
    this.#isHoldingEnded = true
    this.#stopTimer()
    this.#pump()
  }

  /** Asks again about the first message if it waits for its time. */
  askAgain(): void {
    if (this.#cancelTimer === undefined) return
    this.#stopTimer()
    this.#pump()
  }

  runNextSlice(): void {
    this.#isSliced = false
    this.#pump()
  }

  /** Account of the room it holds. */
  get account(): HeldMessageAccount {
    this.#account ??= new HeldMessageAccount(() => this.#refuseNewest())
    return this.#account
  }

  /** Messages of this sender in rule queues. Created on first use. */
  get #queuedMessages(): SenderQueuedMessages<QueuedItem> {
    this.#queued ??= new SenderQueuedMessages(this.account, this.#mixesSenders, change => {
      if (change === 1) this.pending++
      else {
        this.#hooks.onDequeued?.()
        this.#reducePending(1)
      }
    })
    return this.#queued
  }

  /** Refuses the newest waiting message. Because all room is in use and this sender holds most. */
  #refuseNewest(): boolean {
    const entry = this.#waiting.last
    if (entry === undefined) {
      let newest = this.#queued?.newest
      while (newest?.isAsking) newest = newest.older
      if (newest === undefined) return false
      newest.ruleQueue.refuse(newest, newest.refusal)
      return true
    }
    this.#waiting.remove(entry)
    if (this.#waiting.first === undefined) this.#stopTimer()
    this.#releaseRoom(entry)
    this.#holdBudget.countOverflow()
    this.#holdBudget.safeGate.forgetPayload(entry.message)
    const refusal = entry.decision?.allowed === false ? entry.decision : this.#lastRefusal
    entry.enact(createOverflowRefusal(refusal, this.#holdBudget.boundsOf(refusal).overflow), entry.message)
    this.#updatePause()
    return true
  }

  /** Refuses a QoS 0 message of an earlier connection to make room for a message that must not be lost. */
  #makeRoomFor({ qos }: Message): boolean {
    const { last } = this.#waiting
    if (last === undefined || (qos ?? 0) === 0 || (last.message.qos ?? 0) > 0) return false
    return last.hooks !== this.#hooks && this.#refuseNewest()
  }

  /** Ends all waiting. Enacts `decision` for all messages in order, or discards them if it is undefined. */
  flush(decision?: Decision): void {
    this.#stopTimer()
    if (decision === undefined) this.#discardUnless(() => false)
    else while (this.#waiting.first) this.#enactFirst(decision)
    this.#updatePause()
  }

  /** Puts a message behind others of its sender if it must wait. Returns false if the gate may be asked. */
  #appendIfBlocked<M extends Message>(message: M, enact: Enact<M>, ask: Ask<M> | undefined): boolean {
    if (this.#waiting.first !== undefined) {
      this.#append(message, enact, ask, undefined)
      return true
    }
    const older = this.#queued?.newestToFollow(message)
    if (older === undefined) return false
    this.#follow(older, undefined, message, enact as Enact<Message>, ask as Ask<Message> | undefined)
    return true
  }

  /** Queues a message behind an older one of its topic. `decision` is the charged decision it already has. */
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
      return answer ?? (ask === undefined ? this.#ruleQueues.ask(asked) : ask(asked))
    }
    if (!this.#ruleQueues.isOpen) {
      enact(decision ?? older.refusal, message)
      return
    }
    this.#ruleQueues.enqueue({
      message,
      decision: older.refusal,
      queuedMessages: this.#queuedMessages,
      enact,
      ask: charged === undefined ? ask : askOnce,
      after: older,
    })
    this.#hooks.onQueued?.(message)
  }

  #releaseRoom(entry: WaitingMessage): void {
    if (entry.hooks === this.#hooks) this.#heldOwn--
    this.#holdBudget.release(this, this.account, entry.sizeBytes)
    this.#reducePending(1)
  }

  #reducePending(count: number): void {
    this.pending -= count
    if (count > 0 && this.pending === 0) this.onIdle?.()
  }

  #append<M extends Message>(
    message: M,
    enact: Enact<M>,
    ask: Ask<M> | undefined,
    answer: MaybePromise<Decision> | undefined,
  ): void {
    const fits =
      this.#holdBudget.reserve(this, this.account, message, message.size) ||
      (this.#makeRoomFor(message) && this.#holdBudget.reserve(this, this.account, message, message.size))
    if (!fits) {
      // Refused with the rule that would have held it, or that holds the first message.
      this.#holdBudget.countOverflow()
      this.#holdBudget.safeGate.forgetPayload(message)
      const refusal = answer !== undefined && !isPromise(answer) ? answer : this.#lastRefusal
      enact(createOverflowRefusal(refusal, this.#holdBudget.boundsOf(refusal).overflow), message)
      return
    }
    const entry: WaitingMessage = {
      message,
      sizeBytes: message.size,
      sinceMs: this.#holdBudget.clock.now(),
      phase: 'waiting',
      decision: undefined,
      isRemoved: false,
      previous: undefined,
      next: undefined,
      // Both are only called with the message they came with.
      enact: enact as Enact<Message>,
      ask: ask as Ask<Message> | undefined,
      hooks: this.#hooks,
    }
    this.#waiting.append(entry)
    this.pending++
    this.#heldOwn++
    if (answer !== undefined) this.#recordAnswer(entry, answer)
    this.#pump()
  }

  #recordAnswer(entry: WaitingMessage, answer: MaybePromise<Decision>): void {
    this.#waiting.markAsked(entry)
    if (!isPromise(answer)) {
      this.#recordDecision(entry, answer)
      return
    }
    entry.phase = 'asking'
    this.#checksInProgress++
    const { version } = this.#holdBudget.work
    answer.then(decision => {
      this.#checksInProgress--
      if (entry.isRemoved) return
      // A refusal from before a change is out of date. The message is asked about again.
      if (decision.outcome === 'throttle' && version !== this.#holdBudget.work.version)
        entry.phase = 'waiting'
      else this.#recordDecision(entry, decision)
      this.#pump()
    })
  }

  #recordDecision(entry: WaitingMessage, decision: Decision): void {
    entry.decision = decision
    entry.phase = 'decided'
    if (entry !== this.#waiting.first && decision.outcome === 'throttle') {
      // This answer would be out of date at its turn. It is asked again then, and later messages wait until then.
      entry.phase = 'waiting'
      this.#isStalled = true
    }
  }

  #pump(): void {
    if (this.#isPumping || this.#isSliced) return
    this.#isPumping = true
    let isComplete = false
    try {
      this.#enactInOrder()
      isComplete = true
    } finally {
      this.#isPumping = false
      // Enacting may throw. The messages behind must not wait for ever.
      if (!isComplete && this.#waiting.first) this.#schedulePump(1)
    }
    this.#updatePause()
  }

  #enactInOrder(): void {
    let slice: WorkSlice | undefined
    while (this.#waiting.first && this.#cancelTimer === undefined) {
      slice ??= this.#holdBudget.work.slice()
      if (slice.isOver()) {
        this.#isSliced = true
        this.#holdBudget.work.scheduleSlice(this)
        return
      }
      const entry = this.#waiting.first
      if (entry.phase === 'waiting') {
        this.#isStalled = false
        this.#recordAnswer(entry, this.#decide(entry))
      }
      if (entry.phase === 'asking') {
        this.#askAhead()
        return
      }
      const decision = entry.decision!
      if (decision.outcome !== 'throttle') {
        this.#enactFirst(decision)
      } else if (this.#isHoldingEnded) {
        this.#discardUnless(message => message !== entry.message)
      } else if (this.#canWait(entry, decision)) {
        this.#lastRefusal = decision
        entry.phase = 'waiting'
        this.#schedulePump(decision.retryAfterMs)
      } else if (this.#canHoldUntilExpiry(entry, decision)) {
        this.#lastRefusal = decision
        entry.phase = 'waiting'
        this.#schedulePump(
          entry.sinceMs + this.#holdBudget.boundsOf(decision).maxHoldMs - this.#holdBudget.clock.now(),
        )
      } else {
        this.#holdBudget.countOverflow()
        this.#enactFirst(createOverflowRefusal(decision, this.#holdBudget.boundsOf(decision).overflow))
      }
    }
  }

  #decide(entry: WaitingMessage): MaybePromise<Decision> {
    const older = this.#queued?.newestToFollow(entry.message)
    if (older !== undefined) return { ...older.refusal, outcome: 'queue' }
    return entry.ask === undefined ? this.#ruleQueues.ask(entry.message) : entry.ask(entry.message)
  }

  /** Checks the messages behind a pending first one. Why: a remote store then costs one wait, not one per message. */
  #askAhead(): void {
    while (this.#waiting.unasked && !this.#isStalled && this.#checksInProgress < MAX_PENDING_CHECKS) {
      const entry = this.#waiting.unasked
      this.#recordAnswer(entry, this.#decide(entry))
    }
  }

  #enactFirst(decision: Decision): void {
    const entry = this.#waiting.first!
    this.#waiting.remove(entry)
    this.#releaseRoom(entry)
    this.#enactOrQueue(decision, entry.message, entry.enact, entry.ask)
  }

  /** Enacts a final decision, or puts the message into its rule's queue. */
  #enactOrQueue(
    decision: Decision,
    message: Message,
    enact: Enact<Message>,
    ask: Ask<Message> | undefined,
  ): void {
    const { outcome } = decision
    if (this.#queued !== undefined && this.#queued.count > 0 && !FINAL_OUTCOMES.has(outcome)) {
      const older = this.#queued.newestToFollow(message)
      if (older !== undefined) {
        this.#follow(older, decision, message, enact, ask)
        return
      }
      const superseded = isPassing(outcome) ? this.#queued.newestLike(message) : undefined
      if (superseded !== undefined) supersedeAll(superseded)
    }
    if ((outcome === 'queue' || outcome === 'latest') && this.#ruleQueues.isOpen) {
      this.#ruleQueues.enqueue({ message, decision, queuedMessages: this.#queuedMessages, enact, ask })
      this.#hooks.onQueued?.(message)
    } else enact(decision, message)
  }

  #discardUnless(keep: (message: Message) => boolean): number {
    const head = this.#waiting.first
    let discarded = 0
    for (let entry = this.#waiting.first; entry; ) {
      const { next }: WaitingMessage = entry
      if (!keep(entry.message)) {
        this.#waiting.remove(entry)
        discarded++
        if (entry.hooks === this.#hooks) this.#heldOwn--
        this.#holdBudget.safeGate.forgetPayload(entry.message)
        this.#holdBudget.release(this, this.account, entry.sizeBytes)
      }
      entry = next
    }
    this.#reducePending(discarded)
    if (this.#waiting.first !== head) this.#stopTimer()
    this.#holdBudget.countDiscarded(discarded)
    return discarded
  }

  #canWait(entry: WaitingMessage, decision: Decision): boolean {
    const waitedMs = this.#holdBudget.clock.now() - entry.sinceMs
    return waitedMs + decision.retryAfterMs <= this.#holdBudget.boundsOf(decision).maxHoldMs
  }

  /** Returns true if a message is held until its time is up, although it could not pass by then at current limits. */
  #canHoldUntilExpiry({ message, sinceMs }: WaitingMessage, decision: Decision): boolean {
    if (!this.#waitsFully || decision.retryAfterMs === Infinity) return false
    if (message.on !== undefined && message.on !== 'publish') return false
    const { maxHoldMs, isOfRule } = this.#holdBudget.boundsOf(decision)
    return !isOfRule && this.#holdBudget.clock.now() - sinceMs < maxHoldMs
  }

  #schedulePump(ms: number): void {
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

  /** Asks the connection to pause or resume reading. */
  #updatePause(): void {
    if (this.#isDetached) return
    const own = this.#heldOwn
    if (own === 0) {
      if (!this.#isPaused) return
      this.#isPaused = false
      this.#hooks.onResume?.()
    } else if (
      !this.#isPaused &&
      (this.#cancelTimer !== undefined || this.#isSliced || own >= MAX_PENDING_CHECKS)
    ) {
      this.#isPaused = true
      this.#hooks.onPause?.()
    }
  }
}
