import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import {
  createRuntimeEntry,
  type RuntimeEntry,
  type RuntimeEntryChange,
  type RuntimeEntryKind,
  type RuntimeEntryOptions,
} from './runtime-entry.ts'

/** Behaviour of a kind of runtime entry: how its options are parsed and how it takes effect. */
export interface RuntimeEntryType<Given> {
  readonly kind: RuntimeEntryKind
  /** Returns the id and the normalised options. Throws PolicyError. */
  parse(given: Given): { readonly id: string; readonly given: Given }
  /** Puts an entry into effect. Returns a function that reverts it. Throws PolicyError. */
  apply(given: Given, entry: RuntimeEntry): () => void
}

/** Callbacks of a runtime list. */
export interface RuntimeListHooks {
  readonly clock: Clock
  changed(): void
  audit(change: RuntimeEntryChange): void
  /** Shares an entry with the other nodes; undefined if it was removed. */
  share(kind: RuntimeEntryKind, id: string, entry: RuntimeEntry | undefined): Promise<void>
  /** Returns true if the last change of an entry is in the store that the nodes share. */
  isShared(kind: RuntimeEntryKind, id: string): boolean
}

interface ActiveEntry<Given> {
  readonly entry: Given & RuntimeEntry
  readonly revert: () => void
}

/** Up to this size, entries expire exactly on time. Larger lists are scanned less often. */
const ENTRIES_PER_MS = 1_000

/**
 * List of runtime entries of one kind. Bounded. Entries expire by themselves. Every change goes to the audit
 * log and to the other nodes of the store.
 */
export class RuntimeList<Given extends object> {
  readonly #entryType: RuntimeEntryType<Given>
  readonly #hooks: RuntimeListHooks
  readonly #entries = new Map<string, ActiveEntry<Given>>()
  #cancelExpiry: (() => void) | undefined
  #nextExpiryMs = Infinity
  #lastAddedAtMs = Number.NEGATIVE_INFINITY
  #sequence = 0

  constructor(entryType: RuntimeEntryType<Given>, hooks: RuntimeListHooks) {
    this.#entryType = entryType
    this.#hooks = hooks
  }

  get size(): number {
    return this.#entries.size
  }

  get isFull(): boolean {
    return this.#entries.size >= MAX_SIZES.sharedEntries
  }

  /**
   * Adds an entry at once, in place of one with the same id. Resolves when the other nodes can read it, or
   * when the store is unreachable; it is then written later. Rejects with PolicyError if the options are
   * invalid.
   */
  async add(options: Given & RuntimeEntryOptions): Promise<Given & RuntimeEntry> {
    const { reason, code, addedBy, for: length, ...rest } = options
    const { id, given } = this.#entryType.parse(rest as unknown as Given)
    if (this.isFull && !this.#entries.has(id)) {
      throw policyError(
        '',
        `there are ${MAX_SIZES.sharedEntries} of kind ${this.#entryType.kind}`,
        'remove some, or name a network',
      )
    }
    const nowMs = this.#hooks.clock.now()
    this.#sequence = nowMs === this.#lastAddedAtMs ? this.#sequence + 1 : 0
    this.#lastAddedAtMs = nowMs
    const entry = { ...given, ...createRuntimeEntry(id, options, nowMs, this.#sequence) }
    if (JSON.stringify(entry).length > MAX_SIZES.runtimeEntryChars) {
      const problem = `the ${this.#entryType.kind} has more than ${MAX_SIZES.runtimeEntryChars} characters`
      throw policyError('', problem, 'name a role or a network, or write it into the policy')
    }
    const before = this.#entries.get(id)?.entry
    this.#apply(entry)
    this.#hooks.changed()
    this.#audit('added', entry, entry.addedBy, entry.reason, before)
    await this.#hooks.share(this.#entryType.kind, id, entry)
    return entry
  }

  /** Removes an entry at once. Returns false if there is no entry with this id. */
  async remove(id: string, why: { readonly by?: string; readonly reason?: string } = {}): Promise<boolean> {
    const active = this.#entries.get(id)
    if (active === undefined) return false
    this.#revert(id)
    this.#hooks.changed()
    this.#audit('removed', active.entry, why.by ?? 'unknown', why.reason ?? 'taken back')
    await this.#hooks.share(this.#entryType.kind, id, undefined)
    return true
  }

  /** Returns true if the last change of an entry is in the shared store, so that it survives a restart of this node. */
  isShared(id: string): boolean {
    return this.#hooks.isShared(this.#entryType.kind, id)
  }

  get(id: string): (Given & RuntimeEntry) | undefined {
    return this.#entries.get(id)?.entry
  }

  /** Returns all entries in effect, oldest first. */
  list(): readonly (Given & RuntimeEntry)[] {
    return [...this.#entries.values()].map(({ entry }) => entry)
  }

  /**
   * Takes over the entries of all nodes, except those that this node has yet to write. Returns true if any
   * entry changed. Calls `report` with the id of each entry that is invalid here.
   */
  merge(
    sharedEntries: ReadonlyMap<string, Given & RuntimeEntry>,
    unsent: ReadonlySet<string>,
    report: (error: unknown, id: string) => void,
  ): boolean {
    const nowMs = this.#hooks.clock.now()
    let changed = false
    for (const id of [...this.#entries.keys()]) {
      if (sharedEntries.has(id) || unsent.has(id)) continue
      this.#revert(id)
      changed = true
    }
    for (const [id, entry] of sharedEntries) {
      const old = this.#entries.get(id)?.entry
      const isExpired = entry.expiresAtMs !== undefined && entry.expiresAtMs <= nowMs
      if (isExpired || unsent.has(id) || (old === undefined && this.isFull)) continue
      if (old !== undefined && JSON.stringify(old) === JSON.stringify(entry)) continue
      try {
        this.#apply(entry)
        changed = true
      } catch (error) {
        report(error, id)
      }
    }
    return changed
  }

  close(): void {
    this.#cancelExpiry?.()
  }

  #apply(entry: Given & RuntimeEntry): void {
    const old = this.#entries.get(entry.id)
    old?.revert()
    this.#entries.delete(entry.id)
    let revert: () => void
    try {
      revert = this.#entryType.apply(entry, entry)
    } catch (error) {
      // The earlier entry stays in effect.
      if (old !== undefined)
        this.#entries.set(entry.id, { entry: old.entry, revert: this.#entryType.apply(old.entry, old.entry) })
      throw error
    }
    this.#entries.set(entry.id, { entry, revert })
    if (entry.expiresAtMs !== undefined && entry.expiresAtMs < this.#nextExpiryMs)
      this.#scheduleExpiry(entry.expiresAtMs)
  }

  #revert(id: string): void {
    this.#entries.get(id)?.revert()
    this.#entries.delete(id)
  }

  #scheduleExpiry(dueMs: number): void {
    this.#cancelExpiry?.()
    this.#nextExpiryMs = dueMs
    const waitMs = Math.max(1, dueMs - this.#hooks.clock.now())
    this.#cancelExpiry = this.#hooks.clock.after(waitMs, () => this.#expire())
  }

  #expire(): void {
    const nowMs = this.#hooks.clock.now()
    const due = [...this.#entries.values()].filter(({ entry }) => (entry.expiresAtMs ?? Infinity) <= nowMs)
    for (const { entry } of due) this.#revert(entry.id)
    if (due.length > 0) this.#hooks.changed()
    for (const { entry } of due) this.#audit('expired', entry, 'clock', 'its time is over')
    let nextMs = Infinity
    for (const { entry } of this.#entries.values()) nextMs = Math.min(nextMs, entry.expiresAtMs ?? Infinity)
    this.#nextExpiryMs = nextMs
    const earliestMs = nowMs + Math.ceil(this.#entries.size / ENTRIES_PER_MS)
    if (nextMs < Infinity) this.#scheduleExpiry(Math.max(nextMs, earliestMs))
  }

  #audit(
    action: RuntimeEntryChange['action'],
    entry: RuntimeEntry,
    by: string,
    reason: string,
    before?: RuntimeEntry,
  ): void {
    this.#hooks.audit({
      kind: this.#entryType.kind,
      action,
      id: entry.id,
      atMs: this.#hooks.clock.now(),
      by,
      reason,
      before,
      note: entry,
    })
  }
}
