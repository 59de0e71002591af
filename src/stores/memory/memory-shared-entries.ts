import type { Clock } from '../../core/clock.ts'
import type { EphemeralEntries, SharedEntries, SharedEntry } from '../shared-entries.ts'

/** Entries by kind and id. */
class EntryMap implements EphemeralEntries {
  readonly #entries = new Map<string, SharedEntry>()
  readonly #clock: Clock
  readonly #onChange: () => void

  constructor(clock: Clock, onChange: () => void) {
    this.#clock = clock
    this.#onChange = onChange
  }

  put(entry: SharedEntry): void {
    const nowMs = this.#clock.now()
    for (const [name, { expiresAtMs = Infinity }] of this.#entries)
      if (expiresAtMs <= nowMs) this.#entries.delete(name)
    this.#entries.set(nameOf(entry.kind, entry.id), entry)
    this.#onChange()
  }

  remove(kind: string, id: string): void {
    this.#entries.delete(nameOf(kind, id))
    this.#onChange()
  }

  list(): readonly SharedEntry[] {
    return [...this.#entries.values()]
  }
}

/** Runtime entries in this process, for several gates and for other processes that reach them through it. */
export class MemorySharedEntries implements SharedEntries {
  readonly isVolatile = true
  readonly #entries: EntryMap
  readonly #ephemeral = new Map<string, EntryMap>()
  readonly #listeners = new Set<() => void>()
  readonly #clock: Clock
  #changes = 0
  #isNotifying = false

  constructor(clock: Clock) {
    this.#clock = clock
    this.#entries = new EntryMap(clock, () => {
      this.#changes++
      this.#notify()
    })
  }

  put(entry: SharedEntry): void {
    this.#entries.put(entry)
  }

  remove(kind: string, id: string): void {
    this.#entries.remove(kind, id)
  }

  list(): readonly SharedEntry[] {
    return this.#entries.list()
  }

  version(): string {
    return this.#changes === 0 ? '' : String(this.#changes)
  }

  ephemeral(kind: string): EphemeralEntries {
    let entries = this.#ephemeral.get(kind)
    if (entries === undefined) {
      entries = new EntryMap(this.#clock, () => {})
      this.#ephemeral.set(kind, entries)
    }
    return entries
  }

  watch(changed: () => void): { isLive(): boolean; close(): void } {
    this.#listeners.add(changed)
    return { isLive: () => true, close: () => void this.#listeners.delete(changed) }
  }

  /** Notifies in a later turn of the event loop, because a listener may write again. */
  #notify(): void {
    if (this.#isNotifying) return
    this.#isNotifying = true
    setImmediate(() => {
      this.#isNotifying = false
      for (const listener of this.#listeners) listener()
    })
  }
}

function nameOf(kind: string, id: string): string {
  return `${kind} ${id}`
}
