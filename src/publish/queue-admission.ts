import type { Clock } from '../core/clock.ts'
import type { Message } from '../core/message.ts'
import type { SafeGate } from '../guard/safe-gate.ts'
import type { PublishEntry, PublishResults } from './publish-entry.ts'
import type { PublishQueue, QueuePartition } from './publish-queue.ts'

/** Adds messages to the queue, makes room for them, and drops messages that are too old. */
export class QueueAdmission<C> {
  readonly #publishQueue: PublishQueue<C>
  readonly #results: PublishResults<C>
  readonly #safeGate: SafeGate
  readonly #clock: Clock
  readonly #maxAgeMs: number
  /** Called when messages may have left the queue because of their age. */
  readonly #onExpired: () => void
  #cancelExpiry: (() => void) | undefined
  peak = 0

  constructor(
    publishQueue: PublishQueue<C>,
    results: PublishResults<C>,
    safeGate: SafeGate,
    clock: Clock,
    maxAgeMs: number,
    onExpired: () => void,
  ) {
    this.#publishQueue = publishQueue
    this.#results = results
    this.#safeGate = safeGate
    this.#clock = clock
    this.#maxAgeMs = maxAgeMs
    this.#onExpired = onExpired
  }

  /** Adds a message to the queue, or drops it. */
  enqueue(entry: PublishEntry<C>): void {
    entry.latest ||= this.#isKeptByRule(entry)
    if (this.supersedeOlder(entry) || !this.#makeRoom(entry)) return
    this.#publishQueue.add(entry)
    this.peak = Math.max(this.peak, this.#publishQueue.count)
    this.#scheduleExpiry()
  }

  /**
   * Drops the older of two waiting messages of a topic if both keep only the latest. The remaining one gets the higher
   * priority of both. Returns true if `entry` needs no further handling: it was dropped, or has replaced the other.
   */
  supersedeOlder(entry: PublishEntry<C>): boolean {
    const other = entry.latest ? this.#publishQueue.latestOf(entry.message.topic) : undefined
    if (other === undefined) return false
    if (other.sequence > entry.sequence) {
      this.#publishQueue.raise(other, entry.rank)
      this.#results.drop(entry, 'superseded')
      return true
    }
    return this.#replaceOlder(other, entry)
  }

  /** Returns the partition of a held rule that a message must wait behind. */
  partitionAhead(message: Message): QueuePartition<C> | undefined {
    for (const rule of this.#publishQueue.rules) {
      const key = this.#safeGate.keyOf(rule, message)
      const partition = key === undefined ? undefined : this.#publishQueue.partitionOf(rule, key)
      if (partition !== undefined) return partition
    }
    return undefined
  }

  #replaceOlder(older: PublishEntry<C>, entry: PublishEntry<C>): boolean {
    if (entry.rank > older.rank) {
      this.#publishQueue.remove(older)
      this.#results.drop(older, 'superseded')
      return false
    }
    if (!this.#publishQueue.canGrow(entry.message.size - older.message.size)) {
      this.#results.drop(entry, 'overflow')
      return true
    }
    this.#publishQueue.replace(older, entry)
    this.#results.drop(older, 'superseded')
    return true
  }

  /** Returns true if the message waits behind a rule that keeps only the latest of its topic. */
  #isKeptByRule({ message }: PublishEntry<C>): boolean {
    return (
      this.#publishQueue.latestOf(message.topic) !== undefined &&
      this.partitionAhead(message)?.keepsLatest === true
    )
  }

  close(): void {
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
  }

  #makeRoom(newcomer: PublishEntry<C>): boolean {
    for (;;) {
      const victim = this.#publishQueue.victimFor(newcomer)
      if (victim === undefined) return true
      if (victim === 'newcomer') {
        this.#results.drop(newcomer, 'overflow')
        return false
      }
      this.#publishQueue.remove(victim)
      this.#results.drop(victim, 'overflow')
    }
  }

  #scheduleExpiry(): void {
    const maxAgeMs = this.#maxAgeMs
    if (maxAgeMs === Infinity || this.#cancelExpiry !== undefined) return
    const nowMs = this.#clock.now()
    const oldestMs = this.#publishQueue.expire(nowMs - maxAgeMs + 1, entry =>
      this.#results.drop(entry, 'expired'),
    )
    this.#onExpired()
    if (oldestMs === Infinity) return
    this.#cancelExpiry = this.#clock.after(Math.max(1, oldestMs + maxAgeMs - nowMs), () => {
      this.#cancelExpiry = undefined
      this.#scheduleExpiry()
    })
  }
}
