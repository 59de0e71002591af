import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { type Linked, LinkedList } from '../core/linked-list.ts'
import type { SlicedTask } from '../core/sliced-work.ts'

/** Entry of a key queue. */
export interface KeyQueueEntry<E extends KeyQueueEntry<E>> extends Linked<E> {
  subQueue: SubQueue<E>
}

/** Entries of a key queue that share turns, in order of arrival: those of one sender and rank, or of one topic. */
export class SubQueue<E extends KeyQueueEntry<E>> extends LinkedList<E> {
  readonly keyQueue: KeyQueue<E>
  readonly key: unknown
  readonly rank: number
  /** Cancels the wait until another rule no longer refuses the first entry. Undefined while awake. */
  cancelSleep: (() => void) | undefined
  /** True if the first entry must follow an older one of its topic that waits elsewhere. */
  isBlocked = false

  constructor(keyQueue: KeyQueue<E>, key: unknown, rank: number) {
    super()
    this.keyQueue = keyQueue
    this.key = key
    this.rank = rank
  }
}

/** Sub-queues of one rank, and those of them that may have a turn, in the order of their turns. */
interface Rank<E extends KeyQueueEntry<E>> {
  readonly subQueues: Map<unknown, SubQueue<E>>
  readonly ready: Set<SubQueue<E>>
}

/**
 * Priority queue for one key of a rule. The highest rank goes first; sub-queues of one rank take turns, except those
 * that sleep or are blocked. The queue as a whole waits while its rule refuses the key.
 */
export class KeyQueue<E extends KeyQueueEntry<E>> implements SlicedTask {
  readonly key: string
  /** Last refusal of the rule. New messages that must wait get it too. */
  refusal: Decision
  askedVersion: number
  count = 0
  /** True while its messages are being processed, while the gate is asked about one, and until a later slice. */
  isPumping = false
  isAsking = false
  isSliced = false
  readonly #clock: Clock
  readonly #onReady: (keyQueue: KeyQueue<E>) => void
  /** Index: rank. Created on first use, because most key queues have one. */
  readonly #ranks: (Rank<E> | undefined)[] = []
  #cancelWait: (() => void) | undefined

  /** `onReady` is called when the wait is over, or when a sub-queue may have a turn again. */
  constructor(
    key: string,
    refusal: Decision,
    askedVersion: number,
    clock: Clock,
    onReady: (keyQueue: KeyQueue<E>) => void,
  ) {
    this.key = key
    this.refusal = refusal
    this.askedVersion = askedVersion
    this.#clock = clock
    this.#onReady = onReady
  }

  /** True until the wait is over. */
  get isWaiting(): boolean {
    return this.#cancelWait !== undefined
  }

  /** Returns the sub-queue of a sender or topic at a rank. Creates it if necessary. */
  subQueueOf(key: unknown, rank: number): SubQueue<E> {
    return this.#ranks[rank]?.subQueues.get(key) ?? new SubQueue(this, key, rank)
  }

  append(entry: E): void {
    const { subQueue } = entry
    subQueue.append(entry)
    this.count++
    if (subQueue.count > 1) return
    const { subQueues, ready } = this.#rankOf(subQueue)
    subQueues.set(subQueue.key, subQueue)
    ready.add(subQueue)
  }

  remove(entry: E): void {
    const { subQueue } = entry
    subQueue.remove(entry)
    this.count--
    if (subQueue.count > 0) return
    const { subQueues, ready } = this.#rankOf(subQueue)
    subQueue.cancelSleep?.()
    subQueues.delete(subQueue.key)
    ready.delete(subQueue)
  }

  /** Moves an entry to the end of another sub-queue. */
  move(entry: E, to: SubQueue<E>): void {
    this.remove(entry)
    entry.subQueue = to
    this.append(entry)
  }

  /** Returns the next entry in turn, or undefined if all sub-queues sleep or are blocked. */
  next(): E | undefined {
    for (let rank = this.#ranks.length - 1; rank >= 0; rank--) {
      const subQueue = this.#ranks[rank]?.ready.values().next().value
      if (subQueue !== undefined) return subQueue.first
    }
    return undefined
  }

  /** Gives the next turn to another sub-queue of the rank. */
  passTurn(subQueue: SubQueue<E>): void {
    if (subQueue.count < 2) return
    const { ready } = this.#rankOf(subQueue)
    ready.delete(subQueue)
    ready.add(subQueue)
  }

  /** Gives no turn to a sub-queue until it is unblocked. */
  block(subQueue: SubQueue<E>): void {
    subQueue.isBlocked = true
    this.#rankOf(subQueue).ready.delete(subQueue)
  }

  unblock(subQueue: SubQueue<E>): void {
    if (!subQueue.isBlocked) return
    subQueue.isBlocked = false
    if (subQueue.cancelSleep === undefined && subQueue.count > 0) this.#rankOf(subQueue).ready.add(subQueue)
    this.#onReady(this)
  }

  /** Gives no turn to a sub-queue for a time. */
  putToSleep(subQueue: SubQueue<E>, ms: number): void {
    this.#rankOf(subQueue).ready.delete(subQueue)
    subQueue.cancelSleep?.()
    subQueue.cancelSleep = this.#clock.after(Math.max(1, ms), () => {
      subQueue.cancelSleep = undefined
      if (!subQueue.isBlocked) this.#rankOf(subQueue).ready.add(subQueue)
      this.#onReady(this)
    })
  }

  /** Lets the whole queue wait for a time. */
  wait(ms: number): void {
    this.endWait()
    this.#cancelWait = this.#clock.after(Math.max(1, ms), () => {
      this.#cancelWait = undefined
      this.#onReady(this)
    })
  }

  /** Ends the wait of the whole queue, without a call of `onReady`. */
  endWait(): void {
    this.#cancelWait?.()
    this.#cancelWait = undefined
  }

  /** Ends all waits and sleeps. */
  askAgain(): void {
    this.endWait()
    for (const rank of this.#ranks) {
      for (const subQueue of rank?.subQueues.values() ?? []) {
        if (subQueue.cancelSleep === undefined) continue
        subQueue.cancelSleep()
        subQueue.cancelSleep = undefined
        if (!subQueue.isBlocked) rank?.ready.add(subQueue)
      }
    }
    this.#onReady(this)
  }

  runNextSlice(): void {
    this.isSliced = false
    this.#onReady(this)
  }

  #rankOf({ rank }: SubQueue<E>): Rank<E> {
    const known = this.#ranks[rank]
    if (known !== undefined) return known
    const created: Rank<E> = { subQueues: new Map(), ready: new Set() }
    this.#ranks[rank] = created
    return created
  }
}
