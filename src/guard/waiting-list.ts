import type { Decision } from '../core/decision.ts'
import type { Message } from '../core/message.ts'

/** Waiting message: not yet asked about, asked about, or decided. */
export interface WaitingMessage {
  readonly message: Message
  readonly sizeBytes: number
  readonly sinceMs: number
  phase: 'waiting' | 'asking' | 'decided'
  decision: Decision | undefined
  /** True once it has left the list. A later answer is ignored. */
  isRemoved: boolean
  previous: WaitingMessage | undefined
  next: WaitingMessage | undefined
}

/** Messages in order of arrival, as a linked list. Removing the first takes constant time at any length. */
export class WaitingList<E extends WaitingMessage> {
  first: E | undefined
  last: E | undefined
  /** First entry that was never asked about. */
  unasked: E | undefined
  count = 0
  bytes = 0

  append(entry: E): void {
    this.count++
    this.bytes += entry.sizeBytes
    entry.previous = this.last
    if (this.last) this.last.next = entry
    else this.first = entry
    this.last = entry
    this.unasked ??= entry
  }

  /** Marks `entry` as asked about. */
  markAsked(entry: E): void {
    if (this.unasked === entry) this.unasked = entry.next as E | undefined
  }

  shift(): E | undefined {
    const entry = this.first
    if (entry === undefined) return undefined
    this.first = entry.next as E | undefined
    if (this.first === undefined) this.last = undefined
    else this.first.previous = undefined
    this.markAsked(entry)
    this.#markRemoved(entry)
    return entry
  }

  /** Removes the newest entry. */
  pop(): E | undefined {
    const entry = this.last
    if (entry === undefined) return undefined
    this.last = entry.previous as E | undefined
    if (this.last) this.last.next = undefined
    else this.first = undefined
    entry.previous = undefined
    this.markAsked(entry)
    this.#markRemoved(entry)
    return entry
  }

  /** Removes all entries for which `keep` returns false, and passes each to `out`. The others keep their order. */
  removeUnless(keep: (message: Message) => boolean, onRemoved: (entry: E) => void): void {
    let entry = this.first
    this.first = undefined
    this.last = undefined
    this.unasked = undefined
    while (entry) {
      const next = entry.next as E | undefined
      entry.next = undefined
      if (keep(entry.message)) {
        entry.previous = this.last
        if (this.last) this.last.next = entry
        else this.first = entry
        this.last = entry
        if (entry.phase === 'waiting') this.unasked ??= entry
      } else {
        this.#markRemoved(entry)
        onRemoved(entry)
      }
      entry = next
    }
  }

  #markRemoved(entry: E): void {
    entry.isRemoved = true
    this.count--
    this.bytes -= entry.sizeBytes
  }
}
