import type { Decision } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise } from '../core/message.ts'
import type { Slice, SlicedTask, SlicedWork } from '../core/sliced-work.ts'
import { type QueuedItem, SubQueue } from './sub-queue.ts'
import type { QueueRequest } from './types.ts'

/** Part of a rule queue that its key queues use. */
export interface KeyQueueHost {
  readonly rule: string
  readonly work: SlicedWork
  readonly keepsLatest: boolean
  enqueue(key: string, request: QueueRequest): void
  /** Removes a message that a newer one has superseded. */
  supersede(entry: QueuedItem): void
  after(ms: number, run: () => void): () => void
  ask(entry: QueuedItem): MaybePromise<Decision>
  /** Returns the time for which the rule itself refuses. Other rules may refuse for longer. */
  ownWaitMs(entry: QueuedItem, decision: Decision): number
  /** Returns true if a message may wait as long as the decision says. */
  canWait(entry: QueuedItem, decision: Decision): boolean
  /** Removes a message and enacts the decision. */
  release(entry: QueuedItem, decision: Decision): void
  /** Removes a message that cannot wait any longer, and refuses it. */
  refuse(entry: QueuedItem, decision: Decision): void
  /** Removes a message without enacting anything. */
  forget(entry: QueuedItem): void
  /** Records that a message moved here from another sub-queue. */
  recordMove(entry: QueuedItem, from: SubQueue): void
  removeEmpty(keyQueue: KeyQueue): void
}

/** Sub-queues of one rank, and those of them that are not asleep, in the order of their turns. */
interface Rank {
  readonly subQueues: Map<unknown, SubQueue>
  readonly ready: Set<SubQueue>
}

/** Outcomes that keep a message held. */
const HOLDING_OUTCOMES: ReadonlySet<string> = new Set(['throttle', 'queue', 'latest'])

/**
 * Messages that wait for one key of a rule. The highest rank goes first; sub-queues of one rank take turns. Asks the
 * gate about one message at a time, and again at the time given by the last refusal.
 */
export class KeyQueue implements SlicedTask {
  readonly key: string
  /** Last refusal of the rule. New messages that must wait get it too. */
  refusal: Decision
  readonly ruleQueue: KeyQueueHost
  /** Index: rank. Created on first use, because most key queues have one. */
  readonly #ranks: (Rank | undefined)[] = []
  count = 0
  #cancelTimer: (() => void) | undefined
  #isAsking = false
  #isPumping = false
  askedVersion: number
  /** True if it continues in a later slice. */
  #isSliced = false

  constructor(key: string, ruleQueue: KeyQueueHost, refusal: Decision) {
    this.key = key
    this.ruleQueue = ruleQueue
    this.askedVersion = ruleQueue.work.version
    this.refusal = refusal
  }

  get keepsLatest(): boolean {
    return this.ruleQueue.keepsLatest
  }

  /** Returns the sub-queue of a sender or topic at a rank. Creates it if necessary. */
  subQueueOf(key: unknown, rank: number): SubQueue {
    return this.#ranks[rank]?.subQueues.get(key) ?? new SubQueue(this, key, rank)
  }

  append(entry: QueuedItem): void {
    const { subQueue } = entry
    subQueue.append(entry)
    this.count++
    if (subQueue.count > 1) return
    const { subQueues, ready } = this.#rankOf(subQueue)
    subQueues.set(subQueue.key, subQueue)
    ready.add(subQueue)
  }

  remove(entry: QueuedItem): void {
    this.#unlink(entry)
    if (this.count === 0) {
      this.stop()
      this.ruleQueue.removeEmpty(this)
    }
  }

  /** Moves a message to the end of another sub-queue. */
  move(entry: QueuedItem, to: SubQueue): void {
    const from = entry.subQueue
    this.#unlink(entry)
    entry.subQueue = to
    this.append(entry)
    this.ruleQueue.recordMove(entry, from)
  }

  forget(entry: QueuedItem): void {
    this.ruleQueue.forget(entry)
  }

  /** Returns the next message in turn, or undefined if other rules refuse all of them. */
  next(): QueuedItem | undefined {
    for (let rank = this.#ranks.length - 1; rank >= 0; rank--) {
      const subQueue = this.#ranks[rank]?.ready.values().next().value
      if (subQueue !== undefined) return subQueue.first
    }
    return undefined
  }

  /** Waits as long as a refusal says, unless it waits already. */
  waitFor(entry: QueuedItem, decision: Decision): void {
    const ownMs = decision.rule === this.ruleQueue.rule ? this.ruleQueue.ownWaitMs(entry, decision) : 0
    if (decision.rule === this.ruleQueue.rule) this.refusal = decision
    if (ownMs > 0) this.#schedulePump(ownMs)
    // A sender that another rule refuses for longer must not block the others.
    if (ownMs <= 0 || ownMs < decision.retryAfterMs) this.#putToSleep(entry.subQueue, decision.retryAfterMs)
  }

  /** Asks about messages in turn until one is refused. */
  pump(): void {
    if (this.#isPumping || this.#isAsking || this.#isSliced || this.#cancelTimer !== undefined) return
    this.#isPumping = true
    let isComplete = false
    try {
      let slice: Slice | undefined
      for (let entry = this.next(); entry; entry = this.next()) {
        slice ??= this.ruleQueue.work.slice()
        if (slice.isOver()) {
          this.#isSliced = true
          this.ruleQueue.work.goOnLater(this)
          break
        }
        if (entry.olderOfTopic !== undefined && entry.mustFollow) {
          entry.subQueue.isBlocked = true
          this.#rankOf(entry.subQueue).ready.delete(entry.subQueue)
          continue
        }
        entry.isAsking = true
        const answer = this.ruleQueue.ask(entry)
        if (isPromise(answer)) {
          this.#awaitAnswer(entry, answer)
          break
        }
        this.#applyDecision(entry, answer)
        if (this.#cancelTimer !== undefined) break
      }
      isComplete = true
    } finally {
      this.#isPumping = false
      // Enacting may throw. The messages behind must not wait for ever.
      if (!isComplete && this.count > 0) this.#schedulePump(1)
    }
  }

  /** Resumes a sub-queue whose first message had to follow an older one that is isRemoved. */
  unblock(subQueue: SubQueue): void {
    if (!subQueue.isBlocked) return
    subQueue.isBlocked = false
    if (subQueue.cancelSleep === undefined && subQueue.count > 0) this.#rankOf(subQueue).ready.add(subQueue)
    this.pump()
  }

  /** Asks again about all messages that wait for their time. */
  askAgain(): void {
    this.stop()
    for (const rank of this.#ranks) {
      for (const subQueue of rank?.subQueues.values() ?? []) {
        if (subQueue.cancelSleep === undefined) continue
        subQueue.cancelSleep()
        subQueue.cancelSleep = undefined
        if (!subQueue.isBlocked) rank?.ready.add(subQueue)
      }
    }
    this.pump()
  }

  goOn(): void {
    this.#isSliced = false
    this.pump()
  }

  stop(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #unlink(entry: QueuedItem): void {
    const { subQueue } = entry
    subQueue.remove(entry)
    this.count--
    if (subQueue.count > 0) return
    const { subQueues, ready } = this.#rankOf(subQueue)
    subQueue.cancelSleep?.()
    subQueues.delete(subQueue.key)
    ready.delete(subQueue)
  }

  #awaitAnswer(entry: QueuedItem, answer: Promise<Decision>): void {
    this.#isAsking = true
    const { version } = this.ruleQueue.work
    answer.then(decision => {
      this.#isAsking = false
      try {
        const isOutdated = HOLDING_OUTCOMES.has(decision.outcome) && version !== this.ruleQueue.work.version
        if (isOutdated) entry.isAsking = false
        else if (!entry.isRemoved) this.#applyDecision(entry, decision)
      } finally {
        this.pump()
      }
    })
  }

  #applyDecision(entry: QueuedItem, decision: Decision): void {
    entry.isAsking = false
    if (HOLDING_OUTCOMES.has(decision.outcome)) {
      entry.refusal = decision
      if (this.ruleQueue.canWait(entry, decision)) this.waitFor(entry, decision)
      else this.ruleQueue.refuse(entry, decision)
      return
    }
    const { subQueue } = entry
    if (subQueue.count > 1) {
      // The next turn belongs to another sub-queue.
      const { ready } = this.#rankOf(subQueue)
      ready.delete(subQueue)
      ready.add(subQueue)
    }
    this.ruleQueue.release(entry, decision)
  }

  #schedulePump(ms: number): void {
    this.stop()
    this.#cancelTimer = this.ruleQueue.after(Math.max(1, ms), () => {
      this.#cancelTimer = undefined
      this.pump()
    })
  }

  #putToSleep(subQueue: SubQueue, ms: number): void {
    this.#rankOf(subQueue).ready.delete(subQueue)
    subQueue.cancelSleep?.()
    subQueue.cancelSleep = this.ruleQueue.after(Math.max(1, ms), () => {
      subQueue.cancelSleep = undefined
      if (!subQueue.isBlocked) this.#rankOf(subQueue).ready.add(subQueue)
      this.pump()
    })
  }

  #rankOf({ rank }: SubQueue): Rank {
    const known = this.#ranks[rank]
    if (known !== undefined) return known
    const created: Rank = { subQueues: new Map(), ready: new Set() }
    this.#ranks[rank] = created
    return created
  }
}
