import type { Decision } from '../core/decision.ts'
import type { Message } from '../core/message.ts'

/** One message that waits: not yet asked about, asked, or decided. */
export interface Entry {
  readonly message: Message
  readonly sizeBytes: number
  readonly sinceMs: number
  phase: 'waiting' | 'asking' | 'decided'
  decision: Decision | undefined
  /** No longer in the line; an answer that comes now is ignored. */
  gone: boolean
  previous: Entry | undefined
  next: Entry | undefined
}

/** Messages in the order they came, linked: taking the first costs the same at any length. */
export class LinkedList<E extends Entry> {
  first: E | undefined
  last: E | undefined
  /** The first that was never asked about. */
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

  /** Notes that `entry` was asked about. */
  asked(entry: E): void {
    if (this.unasked === entry) this.unasked = entry.next as E | undefined
  }

  shift(): E | undefined {
    const entry = this.first
    if (entry === undefined) return undefined
    this.first = entry.next as E | undefined
    if (this.first === undefined) this.last = undefined
    else this.first.previous = undefined
    this.asked(entry)
    this.#forget(entry)
    return entry
  }

  /** Takes out the newest. */
  pop(): E | undefined {
    const entry = this.last
    if (entry === undefined) return undefined
    this.last = entry.previous as E | undefined
    if (this.last) this.last.next = undefined
    else this.first = undefined
    entry.previous = undefined
    this.asked(entry)
    this.#forget(entry)
    return entry
  }

  /** Takes out all that `keep` says no to, and hands each to `out`; the rest stay in their order. */
  filterChunk(keep: (message: Message) => boolean, out: (entry: E) => void): void {
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
        this.#forget(entry)
        out(entry)
      }
      entry = next
    }
  }

  #forget(entry: E): void {
    entry.gone = true
    this.count--
    this.bytes -= entry.sizeBytes
  }
}
