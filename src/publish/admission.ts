import type { Clock } from '../core/clock.ts'
import type { Message } from '../core/message.ts'
import type { Entry } from './linked-list.ts'
import type { Partition } from './partition.ts'
import type { PublishQueue } from './publish-queue.ts'
import type { PublishResults } from './publish-results.ts'

/** Takes messages into the queue: finds room for them, and drops what has grown too old. */
export class Admission<C> {
  readonly #publishQueue: PublishQueue<C>
  readonly #results: PublishResults<C>
  readonly #clock: Clock
  readonly #maxAgeMs: number
  /** The shelf of what a rule holds back and a message waits behind. */
  readonly #shelfBehind: (message: Message) => Partition<C> | undefined
  /** Something has left the queue by its age. */
  readonly #changed: () => void
  #cancelExpiry: (() => void) | undefined
  peak = 0

  constructor(
    publishQueue: PublishQueue<C>,
    results: PublishResults<C>,
    clock: Clock,
    maxAgeMs: number,
    shelfBehind: (message: Message) => Partition<C> | undefined,
    changed: () => void,
  ) {
    this.#publishQueue = publishQueue
    this.#results = results
    this.#clock = clock
    this.#maxAgeMs = maxAgeMs
    this.#shelfBehind = shelfBehind
    this.#changed = changed
  }

  /** Takes a message in, or drops it. */
  take(entry: Entry<C>): void {
    entry.latest ||= this.#isKeptByRule(entry)
    if (this.supersedes(entry) || !this.#makeRoom(entry)) return
    this.#publishQueue.add(entry)
    this.peak = Math.max(this.peak, this.#publishQueue.count)
    this.#watchAge()
  }

  /**
   * Settles which of two messages of a topic is superseded, if `entry` keeps only its latest and another that does waits.
   * The one that stays has the higher priority of both. Returns whether `entry` is settled: it is dropped, or has taken the
   * place of the other.
   */
  supersedes(entry: Entry<C>): boolean {
    const other = entry.latest ? this.#publishQueue.latestOf(entry.message.topic) : undefined
    if (other === undefined) return false
    if (other.sequence > entry.sequence) {
      this.#publishQueue.raise(other, entry.rank)
      this.#results.drop(entry, 'superseded')
      return true
    }
    return this.#replace(other, entry)
  }

  #replace(older: Entry<C>, entry: Entry<C>): boolean {
    if (entry.rank > older.rank) {
      this.#publishQueue.remove(older)
      this.#results.drop(older, 'superseded')
      return false
    }
    if (!this.#publishQueue.mayGrow(entry.message.size - older.message.size)) {
      this.#results.drop(entry, 'overflow')
      return true
    }
    this.#publishQueue.replace(older, entry)
    this.#results.drop(older, 'superseded')
    return true
  }

  /** Whether it waits behind another of its topic, of which a rule keeps only the latest. */
  #isKeptByRule({ message }: Entry<C>): boolean {
    return (
      this.#publishQueue.latestOf(message.topic) !== undefined &&
      this.#shelfBehind(message)?.keepsLatest === true
    )
  }

  close(): void {
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
  }

  #makeRoom(newcomer: Entry<C>): boolean {
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

  #watchAge(): void {
    const maxAgeMs = this.#maxAgeMs
    if (maxAgeMs === Infinity || this.#cancelExpiry !== undefined) return
    const nowMs = this.#clock.now()
    const oldestMs = this.#publishQueue.expire(nowMs - maxAgeMs + 1, entry =>
      this.#results.drop(entry, 'expired'),
    )
    this.#changed()
    if (oldestMs === Infinity) return
    this.#cancelExpiry = this.#clock.after(Math.max(1, oldestMs + maxAgeMs - nowMs), () => {
      this.#cancelExpiry = undefined
      this.#watchAge()
    })
  }
}
