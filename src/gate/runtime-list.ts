import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import {
  type Change,
  type EntryKind,
  type RuntimeEntry,
  type RuntimeEntryOptions,
  runtimeEntryOf,
} from './runtime-entry.ts'

/** Behaviour of a kind of runtime entry: how its options are parsed and how it takes effect. */
export interface EntryType<Given> {
  readonly kind: EntryKind
  /** Returns the id and the normalised options. Throws PolicyError. */
  read(given: Given): { readonly id: string; readonly given: Given }
  /** Puts an entry into effect. Returns a function that reverts it. Throws PolicyError. */
  enter(given: Given, note: RuntimeEntry): () => void
}

/** Callbacks of a runtime list. */
export interface RuntimeListHooks {
  readonly clock: Clock
  changed(): void
  audit(change: Change): void
  /** Shares an entry with the other nodes; undefined if it was removed. */
  share(kind: EntryKind, id: string, note: RuntimeEntry | undefined): Promise<void>
}

interface Posted<Given> {
  readonly note: Given & RuntimeEntry
  readonly leave: () => void
}

/** Up to this size, entries expire exactly on time. Larger lists are scanned less often. */
const NOTES_PER_MS = 1_000

/**
 * List of runtime entries of one kind. Bounded. Entries expire by themselves. Every change goes to the audit
 * log and to the other nodes of the store.
 */
export class RuntimeList<Given extends object> {
  readonly #entryType: EntryType<Given>
  readonly #hooks: RuntimeListHooks
  readonly #posted = new Map<string, Posted<Given>>()
  #cancel: (() => void) | undefined
  #dueMs = Infinity
  #lastAddedAtMs = Number.NEGATIVE_INFINITY
  #sequence = 0

  constructor(entryType: EntryType<Given>, hooks: RuntimeListHooks) {
    this.#entryType = entryType
    this.#hooks = hooks
  }

  get size(): number {
    return this.#posted.size
  }

  get isFull(): boolean {
    return this.#posted.size >= MAX_SIZES.sharedEntries
  }

  /**
   * Adds an entry at once, in place of one with the same id. Resolves when the other nodes can read it, or
   * when the store is unreachable; it is then written later. Rejects with PolicyError if the options are
   * invalid.
   */
  async add(options: Given & RuntimeEntryOptions): Promise<Given & RuntimeEntry> {
    const { reason, code, addedBy, for: length, ...rest } = options
    const { id, given } = this.#entryType.read(rest as unknown as Given)
    if (this.isFull && !this.#posted.has(id)) {
      throw policyError(
        '',
        `there are ${MAX_SIZES.sharedEntries} of kind ${this.#entryType.kind}`,
        'remove some, or name a network',
      )
    }
    const nowMs = this.#hooks.clock.now()
    this.#sequence = nowMs === this.#lastAddedAtMs ? this.#sequence + 1 : 0
    this.#lastAddedAtMs = nowMs
    const note = { ...given, ...runtimeEntryOf(id, options, nowMs, this.#sequence) }
    this.#enter(note)
    this.#hooks.changed()
    this.#tell('added', note, note.addedBy, note.reason)
    await this.#hooks.share(this.#entryType.kind, id, note)
    return note
  }

  /** Removes an entry at once. Returns false if there is no entry with this id. */
  async remove(id: string, why: { readonly by?: string; readonly reason?: string } = {}): Promise<boolean> {
    const posted = this.#posted.get(id)
    if (posted === undefined) return false
    this.#leave(id)
    this.#hooks.changed()
    this.#tell('removed', posted.note, why.by ?? 'unknown', why.reason ?? 'taken back')
    await this.#hooks.share(this.#entryType.kind, id, undefined)
    return true
  }

  get(id: string): (Given & RuntimeEntry) | undefined {
    return this.#posted.get(id)?.note
  }

  /** Returns all entries in effect, oldest first. */
  list(): readonly (Given & RuntimeEntry)[] {
    return [...this.#posted.values()].map(({ note }) => note)
  }

  /**
   * Takes over the entries of all nodes, except those that this node has yet to write. Returns true if any
   * entry changed.
   */
  merge(
    sharedEntries: ReadonlyMap<string, Given & RuntimeEntry>,
    unsent: ReadonlySet<string>,
    report: (error: unknown) => void,
  ): boolean {
    const nowMs = this.#hooks.clock.now()
    let changed = false
    for (const id of [...this.#posted.keys()]) {
      if (sharedEntries.has(id) || unsent.has(id)) continue
      this.#leave(id)
      changed = true
    }
    for (const [id, note] of sharedEntries) {
      const old = this.#posted.get(id)?.note
      const isOver = note.expiresAtMs !== undefined && note.expiresAtMs <= nowMs
      if (isOver || unsent.has(id) || (old === undefined && this.isFull)) continue
      if (old !== undefined && JSON.stringify(old) === JSON.stringify(note)) continue
      try {
        this.#enter(note)
        changed = true
      } catch (error) {
        report(error)
      }
    }
    return changed
  }

  close(): void {
    this.#cancel?.()
  }

  #enter(note: Given & RuntimeEntry): void {
    const old = this.#posted.get(note.id)
    old?.leave()
    this.#posted.delete(note.id)
    let leave: () => void
    try {
      leave = this.#entryType.enter(note, note)
    } catch (error) {
      // The earlier entry stays in effect.
      if (old !== undefined)
        this.#posted.set(note.id, { note: old.note, leave: this.#entryType.enter(old.note, old.note) })
      throw error
    }
    this.#posted.set(note.id, { note, leave })
    if (note.expiresAtMs !== undefined && note.expiresAtMs < this.#dueMs) this.#wake(note.expiresAtMs)
  }

  #leave(id: string): void {
    this.#posted.get(id)?.leave()
    this.#posted.delete(id)
  }

  #wake(dueMs: number): void {
    this.#cancel?.()
    this.#dueMs = dueMs
    const waitMs = Math.max(1, dueMs - this.#hooks.clock.now())
    this.#cancel = this.#hooks.clock.after(waitMs, () => this.#expire())
  }

  #expire(): void {
    const nowMs = this.#hooks.clock.now()
    const due = [...this.#posted.values()].filter(({ note }) => (note.expiresAtMs ?? Infinity) <= nowMs)
    for (const { note } of due) this.#leave(note.id)
    if (due.length > 0) this.#hooks.changed()
    for (const { note } of due) this.#tell('expired', note, 'clock', 'its time is over')
    let nextMs = Infinity
    for (const { note } of this.#posted.values()) nextMs = Math.min(nextMs, note.expiresAtMs ?? Infinity)
    this.#dueMs = nextMs
    const soonestMs = nowMs + Math.ceil(this.#posted.size / NOTES_PER_MS)
    if (nextMs < Infinity) this.#wake(Math.max(nextMs, soonestMs))
  }

  #tell(action: Change['action'], note: RuntimeEntry, by: string, reason: string): void {
    this.#hooks.audit({
      kind: this.#entryType.kind,
      action,
      id: note.id,
      atMs: this.#hooks.clock.now(),
      by,
      reason,
      note,
    })
  }
}
