import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { hashLongPart } from '../core/hash-long-part.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { Message } from '../core/message.ts'
import type { WorkSlice } from '../core/sliced-work.ts'
import type { QueuePlan } from '../outcomes/queue-plan.ts'
import { type Ask, createOverflowRefusal, type Enact, isIdentified, isPassing } from './guard-types.ts'
import type { HeldQueue, HoldBudget } from './hold-budget.ts'
import { KeyQueue, type KeyQueueEntry, type SubQueue } from './key-queue.ts'
import { QueueEvictionPolicy } from './queue-eviction-policy.ts'
import type { QueueHeadChecks } from './queue-head-checks.ts'
import type { SenderQueuedMessages } from './sender-queued-messages.ts'

/** Message for a rule's queue, with the callbacks that continue it. */
export interface QueueRequest {
  readonly message: Message
  readonly decision: Decision
  /** Queued messages of its sender queue. The new message is added to them. */
  readonly queuedMessages: SenderQueuedMessages<QueuedItem>
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** Older message of the same sender and topic. The new message follows it in the same queue. */
  readonly after?: QueuedItem | undefined
}

/** Message in a rule queue. */
export class QueuedItem implements KeyQueueEntry<QueuedItem> {
  readonly message: Message
  readonly sizeBytes: number
  readonly sinceMs: number
  readonly ruleQueue: RuleQueue
  subQueue: SubQueue<QueuedItem>
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** All queued messages of its sender queue. */
  readonly queuedMessages: SenderQueuedMessages<QueuedItem>
  /** Last refusal that held it. */
  refusal: Decision
  /** True while the gate is being asked about it. */
  isAsking = false
  /** True once it has left the queue. A later answer is ignored. */
  isRemoved = false
  /** Neighbours in its sub-queue. */
  previous: QueuedItem | undefined = undefined
  next: QueuedItem | undefined = undefined
  /** Neighbours among all queued messages of its sender queue, and among those of its sender and topic. */
  older: QueuedItem | undefined = undefined
  newer: QueuedItem | undefined = undefined
  olderOfTopic: QueuedItem | undefined = undefined
  newerOfTopic: QueuedItem | undefined = undefined

  constructor(
    request: QueueRequest,
    ruleQueue: RuleQueue,
    subQueue: SubQueue<QueuedItem>,
    sizeBytes: number,
    sinceMs: number,
  ) {
    this.message = request.message
    this.sizeBytes = sizeBytes
    this.sinceMs = sinceMs
    this.ruleQueue = ruleQueue
    this.subQueue = subQueue
    this.enact = request.enact
    this.ask = request.ask
    this.queuedMessages = request.queuedMessages
    this.refusal = request.decision
  }

  /** True if a newer message of its topic supersedes it instead of following it. */
  get isSuperseded(): boolean {
    return this.ruleQueue.plan.order === 'latest'
  }

  /** True if an older message of its sender and topic must go first, whatever their priorities. */
  get mustFollow(): boolean {
    if (!isIdentified(this.message.sender)) return false
    let older = this.olderOfTopic
    while (older?.isSuperseded) older = older.olderOfTopic
    return older !== undefined
  }
}

/** Outcomes that keep a message held. */
const HOLDING_OUTCOMES: ReadonlySet<string> = new Set(['throttle', 'queue', 'latest'])

/**
 * Messages that one rule holds for its senders, with a queue for each key the rule counts by. Messages, bytes and age
 * are bounded over all keys. Asks the gate about one message of a key at a time, and again at the time given by the
 * last refusal.
 */
export class RuleQueue implements HeldQueue {
  readonly rule: string
  readonly plan: QueuePlan
  readonly keyQueues = new Map<string, KeyQueue<QueuedItem>>()
  held = 0
  heldBytes = 0
  askedVersion = 0
  readonly #holdBudget: HoldBudget
  readonly #queueHeadChecks: QueueHeadChecks
  readonly #onEmpty: () => void
  readonly #clock: Clock
  /** Messages in order of arrival. */
  readonly #byAge = new Set<QueuedItem>()
  readonly #evictionPolicy: QueueEvictionPolicy<QueuedItem>
  #cancelExpiry: (() => void) | undefined
  #insertsInProgress = 0

  constructor(
    rule: string,
    plan: QueuePlan,
    holdBudget: HoldBudget,
    queueHeadChecks: QueueHeadChecks,
    onEmpty: () => void,
  ) {
    this.rule = rule
    this.plan = plan
    this.#holdBudget = holdBudget
    this.#queueHeadChecks = queueHeadChecks
    this.#onEmpty = onEmpty
    this.#clock = holdBudget.clock
    this.#evictionPolicy = new QueueEvictionPolicy<QueuedItem>(this, plan.order === 'priority')
  }

  get maxHeld(): number {
    return this.plan.maxMessages
  }

  get maxHeldBytes(): number {
    return this.plan.maxBytes
  }

  /** Adds a message, or refuses it at once if it finds no room or cannot wait. */
  enqueue(key: string, request: QueueRequest): void {
    this.#insertsInProgress++
    try {
      this.#insert(key, request)
    } finally {
      this.#insertsInProgress--
      this.#reportEmpty()
    }
  }

  #insert(key: string, request: QueueRequest): void {
    const { decision, message, queuedMessages, after } = request
    const { order, rankOf } = this.plan
    const rank = rankOf(message)
    const subQueueKey =
      order === 'latest' ? hashLongPart(message.topic) : order === 'arrival' ? '' : queuedMessages
    const nowMs = this.#clock.now()
    const sizeBytes = sizeOf(message)
    const older =
      order === 'latest'
        ? removableItem(this.keyQueues.get(key)?.subQueueOf(subQueueKey, rank).last)
        : undefined
    const fits =
      this.#canWait(nowMs, decision) &&
      sizeBytes <= this.plan.maxBytes &&
      (older === undefined
        ? this.#makeRoom(key, subQueueKey, rank, request)
        : this.#transferRoom(older, sizeBytes))
    if (!fits) {
      this.#holdBudget.countOverflow()
      request.enact(createOverflowRefusal(decision, this.plan.then), message)
      return
    }
    const overtakes = after !== undefined && !after.isRemoved && after.subQueue.rank < rank
    if (overtakes && isIdentified(message.sender)) this.#raiseRank(after, rank)
    // Making room may have removed the key queue.
    const known = this.keyQueues.get(key)
    const keyQueue = known ?? this.#createKeyQueue(key, decision)
    const item = new QueuedItem(request, this, keyQueue.subQueueOf(subQueueKey, rank), sizeBytes, nowMs)
    this.#append(item)
    if (older !== undefined) {
      this.#holdBudget.transfer(
        older.queuedMessages.account,
        older.sizeBytes,
        queuedMessages.account,
        sizeBytes,
        message,
      )
      this.#unlink(older)
      this.#enactSuperseded(older)
    }
    if (older === undefined && known === undefined) this.#wait(item, decision)
    this.#pump(keyQueue)
  }

  #createKeyQueue(key: string, decision: Decision): KeyQueue<QueuedItem> {
    const { version } = this.#holdBudget.work
    const created = new KeyQueue<QueuedItem>(key, decision, version, this.#clock, this.#pump)
    this.keyQueues.set(key, created)
    return created
  }

  /** Asks again about all key queues, in slices. */
  askAgain(): void {
    this.#holdBudget.work.askAgain(this.keyQueues.values())
  }

  runNextSlice(): void {}

  /** Asks about the messages of a key in turn until one is refused. */
  readonly #pump = (keyQueue: KeyQueue<QueuedItem>): void => {
    if (keyQueue.isPumping || keyQueue.isAsking || keyQueue.isSliced || keyQueue.isWaiting) return
    keyQueue.isPumping = true
    let isComplete = false
    try {
      let slice: WorkSlice | undefined
      for (let item = keyQueue.next(); item; item = keyQueue.next()) {
        slice ??= this.#holdBudget.work.slice()
        if (slice.isOver()) {
          keyQueue.isSliced = true
          this.#holdBudget.work.scheduleSlice(keyQueue)
          break
        }
        if (item.olderOfTopic !== undefined && item.mustFollow) {
          keyQueue.block(item.subQueue)
          continue
        }
        item.isAsking = true
        const answer = this.#queueHeadChecks.ask(item.message, item.ask)
        if (isPromise(answer)) {
          this.#awaitAnswer(item, answer)
          break
        }
        this.#applyDecision(item, answer)
        if (keyQueue.isWaiting) break
      }
      isComplete = true
    } finally {
      keyQueue.isPumping = false
      // Enacting may throw. The messages behind must not wait for ever.
      if (!isComplete && keyQueue.count > 0) keyQueue.wait(1)
    }
  }

  #awaitAnswer(item: QueuedItem, answer: Promise<Decision>): void {
    const { keyQueue } = item.subQueue
    keyQueue.isAsking = true
    const { version } = this.#holdBudget.work
    answer.then(decision => {
      keyQueue.isAsking = false
      try {
        const isOutdated = HOLDING_OUTCOMES.has(decision.outcome) && version !== this.#holdBudget.work.version
        if (isOutdated) item.isAsking = false
        else if (!item.isRemoved) this.#applyDecision(item, decision)
      } finally {
        this.#pump(keyQueue)
      }
    })
  }

  #applyDecision(item: QueuedItem, decision: Decision): void {
    item.isAsking = false
    if (!HOLDING_OUTCOMES.has(decision.outcome)) {
      item.subQueue.keyQueue.passTurn(item.subQueue)
      this.release(item, decision)
      return
    }
    item.refusal = decision
    if (this.#canWait(item.sinceMs, decision)) this.#wait(item, decision)
    else this.refuse(item, decision)
  }

  /** Waits as long as a refusal says. */
  #wait({ message, subQueue }: QueuedItem, decision: Decision): void {
    const { keyQueue } = subQueue
    let ownMs = 0
    if (decision.rule === this.rule) {
      ownMs = this.#queueHeadChecks.ownWaitMs(this.rule, message, decision)
      keyQueue.refusal = decision
    }
    if (ownMs > 0) keyQueue.wait(ownMs)
    // A sender that another rule refuses for longer must not block the others.
    if (ownMs <= 0 || ownMs < decision.retryAfterMs) keyQueue.putToSleep(subQueue, decision.retryAfterMs)
  }

  #canWait(sinceMs: number, { retryAfterMs }: Decision): boolean {
    return retryAfterMs < Infinity && this.#clock.now() - sinceMs + retryAfterMs <= this.plan.upToMs
  }

  /** Removes a message and enacts a decision. */
  release(item: QueuedItem, decision: Decision): void {
    const older = item.olderOfTopic
    const followers = followersOf(item)
    this.#remove(item)
    if (older !== undefined && isPassing(decision.outcome)) supersedeAll(older)
    try {
      item.enact(decision, item.message)
    } finally {
      unblock(followers)
    }
  }

  /** Removes a message that cannot wait any longer or must give way, and refuses it. */
  refuse(item: QueuedItem, refusal: Decision): void {
    this.#holdBudget.countOverflow()
    this.release(item, createOverflowRefusal(refusal, this.plan.then))
  }

  /** Removes a message that a newer one has superseded. */
  supersede(item: QueuedItem): void {
    this.#remove(item)
    this.#enactSuperseded(item)
  }

  #enactSuperseded(item: QueuedItem): void {
    this.#holdBudget.countSuperseded()
    item.enact({ ...createOverflowRefusal(item.refusal, 'drop'), reason: 'superseded' }, item.message)
  }

  /** Removes a message without enacting anything. */
  discard(item: QueuedItem): void {
    const followers = followersOf(item)
    this.#remove(item)
    this.#holdBudget.countDiscarded(1)
    unblock(followers)
  }

  flush(decision?: Decision): void {
    for (const item of [...this.#byAge]) {
      if (item.isRemoved) continue
      if (decision === undefined) this.discard(item)
      else this.release(item, decision)
    }
  }

  #makeRoom(
    key: string,
    subQueueKey: unknown,
    rank: number,
    { queuedMessages, message }: QueueRequest,
  ): boolean {
    while (!this.#holdBudget.reserve(this, queuedMessages.account, message, sizeOf(message))) {
      const own = this.keyQueues.get(key)?.subQueueOf(subQueueKey, rank).count ?? 0
      const victim = this.#evictionPolicy.victimFor(queuedMessages, rank, own)
      if (victim === undefined) return false
      this.refuse(victim, victim.refusal)
    }
    return true
  }

  /** Transfers the room of an older message to its successor. Returns false if the successor is too large. */
  #transferRoom(older: QueuedItem, sizeBytes: number): boolean {
    const growth = sizeBytes - older.sizeBytes
    if (this.heldBytes + growth > this.plan.maxBytes || !this.#holdBudget.grow(growth)) return false
    this.heldBytes += growth
    return true
  }

  #append(item: QueuedItem): void {
    const { subQueue } = item
    const isSuperseding = removableItem(subQueue.last) !== undefined && this.plan.order === 'latest'
    if (!isSuperseding) {
      this.held++
      this.heldBytes += item.sizeBytes
    }
    item.queuedMessages.add(item)
    this.#byAge.add(item)
    subQueue.keyQueue.append(item)
    this.#evictionPolicy.add(item)
    this.#scheduleExpiry()
  }

  #remove(item: QueuedItem): void {
    this.held--
    this.heldBytes -= item.sizeBytes
    this.#holdBudget.release(this, item.queuedMessages.account, item.sizeBytes)
    this.#unlink(item)
  }

  #unlink(item: QueuedItem): void {
    const { keyQueue } = item.subQueue
    item.isRemoved = true
    item.queuedMessages.remove(item)
    this.#byAge.delete(item)
    keyQueue.remove(item)
    this.#evictionPolicy.remove(item)
    if (keyQueue.count > 0) return
    keyQueue.endWait()
    if (this.keyQueues.get(keyQueue.key) === keyQueue) this.keyQueues.delete(keyQueue.key)
    this.#reportEmpty()
  }

  /** Ends an empty queue, but not while a message is being added. */
  #reportEmpty(): void {
    if (this.keyQueues.size > 0 || this.#insertsInProgress > 0) return
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
    this.#onEmpty()
  }

  /**
   * Raises older messages of the same sender and topic to the rank of a newer one, in order. Because a message may
   * overtake only those of other topics. Each is raised at most once for each rank.
   */
  #raiseRank(newest: QueuedItem, rank: number): void {
    const { keyQueue } = newest.subQueue
    const raised: QueuedItem[] = []
    for (let item: QueuedItem | undefined = newest; item; item = item.olderOfTopic) {
      if (item.subQueue.keyQueue === keyQueue && item.subQueue.rank < rank && !item.isAsking)
        raised.push(item)
    }
    const to = keyQueue.subQueueOf(newest.subQueue.key, rank)
    for (const item of raised.reverse()) {
      const from = item.subQueue
      keyQueue.move(item, to)
      this.#evictionPolicy.move(from, to)
    }
  }

  #scheduleExpiry(): void {
    if (this.#cancelExpiry !== undefined || this.plan.upToMs === Infinity) return
    const [oldest] = this.#byAge
    if (oldest === undefined) return
    const remainingMs = oldest.sinceMs + this.plan.upToMs - this.#clock.now()
    this.#cancelExpiry = this.#clock.after(Math.max(1, remainingMs), () => {
      this.#cancelExpiry = undefined
      try {
        for (const item of [...this.#byAge]) {
          if (this.#clock.now() - item.sinceMs < this.plan.upToMs) break
          if (!item.isRemoved) this.refuse(item, item.refusal)
        }
      } finally {
        this.#scheduleExpiry()
      }
    })
  }
}

/** Removes a message and all older ones of its topic that it supersedes. */
export function supersedeAll(newest: QueuedItem): void {
  for (let item: QueuedItem | undefined = newest; item; ) {
    const { olderOfTopic }: QueuedItem = item
    if (item.isSuperseded) item.ruleQueue.supersede(item)
    item = olderOfTopic
  }
}

/** Returns the newer messages of a topic up to the first that is not superseded, or undefined if there are none. */
function followersOf({ newerOfTopic }: QueuedItem): QueuedItem[] | undefined {
  if (newerOfTopic === undefined) return undefined
  const followers: QueuedItem[] = []
  for (let item: QueuedItem | undefined = newerOfTopic; item; item = item.newerOfTopic) {
    followers.push(item)
    if (!item.isSuperseded) break
  }
  return followers
}

function unblock(followers: readonly QueuedItem[] | undefined): void {
  if (followers === undefined) return
  for (const { isRemoved, subQueue } of followers) if (!isRemoved) subQueue.keyQueue.unblock(subQueue)
}

/** Returns the message unless the gate is being asked about it. Why: its charge must not be for a removed message. */
function removableItem(item: QueuedItem | undefined): QueuedItem | undefined {
  return item?.isAsking === false ? item : undefined
}

/** Returns the bytes of payload and topic. Both, because senders choose both. */
function sizeOf({ size, topic }: Message): number {
  return size + topic.length
}
