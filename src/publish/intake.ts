import type { Clock } from '../clock.ts'
import type { Ends } from './ends.ts'
import type { Outbox } from './outbox.ts'
import { Entry } from './row.ts'

/** Takes messages into the queue: finds room for them, and drops what has grown too old. */
export class Intake<C> {
  readonly #outbox: Outbox<C>
  readonly #ends: Ends<C>
  readonly #clock: Clock
  readonly #maxAgeMs: number
  /** Something has left the queue by its age. */
  readonly #changed: () => void
  #cancelExpiry: (() => void) | undefined
  peak = 0

  constructor(outbox: Outbox<C>, ends: Ends<C>, clock: Clock, maxAgeMs: number, changed: () => void) {
    this.#outbox = outbox
    this.#ends = ends
    this.#clock = clock
    this.#maxAgeMs = maxAgeMs
    this.#changed = changed
  }

  /** Takes a message in, or tells that it was dropped. */
  take(entry: Entry<C>): void {
    if (this.supersedes(entry) || !this.#makeRoom(entry)) return
    this.#outbox.add(entry)
    this.peak = Math.max(this.peak, this.#outbox.count)
    this.#watchAge()
  }

  /** Takes the place of an older one of its topic, of which only the newest counts. */
  supersedes(entry: Entry<C>): boolean {
    const older = this.#outbox.latestOf(entry.message.topic)
    if (older === undefined) return false
    if (!this.#outbox.mayGrow(entry.message.size - older.message.size)) {
      this.#ends.drop(entry, 'overflow')
      return true
    }
    // What stays is one entry in the older one's place; what goes is told of as the older message.
    const gone = new Entry(older.message, older.cargo, older, older.order, older.sinceMs, older.tell)
    this.#outbox.exchange(older, () => {
      older.message = entry.message
      older.cargo = entry.cargo
      older.tell = entry.tell
      older.sinceMs = entry.sinceMs
    })
    this.#ends.drop(gone, 'superseded')
    return true
  }

  close(): void {
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
  }

  #makeRoom(newcomer: Entry<C>): boolean {
    for (;;) {
      const victim = this.#outbox.victimFor(newcomer)
      if (victim === undefined) return true
      if (victim === 'newcomer') {
        this.#ends.drop(newcomer, 'overflow')
        return false
      }
      this.#outbox.remove(victim)
      this.#ends.drop(victim, 'overflow')
    }
  }

  #watchAge(): void {
    const maxAgeMs = this.#maxAgeMs
    if (maxAgeMs === Infinity || this.#cancelExpiry !== undefined) return
    const nowMs = this.#clock.now()
    const oldestMs = this.#outbox.expire(nowMs - maxAgeMs + 1, entry => this.#ends.drop(entry, 'expired'))
    this.#changed()
    if (oldestMs === Infinity) return
    this.#cancelExpiry = this.#clock.after(Math.max(1, oldestMs + maxAgeMs - nowMs), () => {
      this.#cancelExpiry = undefined
      this.#watchAge()
    })
  }
}
