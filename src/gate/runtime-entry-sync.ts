import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { withTimeout } from '../core/with-timeout.ts'
import type { SharedEntries, SharedEntriesWatch, SharedEntry } from '../stores/shared-entries.ts'
import type { RuntimeEntry, RuntimeEntryKind } from './runtime-entry.ts'

/** Poll interval if the store sends no change notifications: all nodes know a change within a second. */
const POLL_INTERVAL_MS = 400
/** Poll interval if the store notifies of changes. Because notifications can get lost, polling never stops. */
const NOTIFIED_POLL_INTERVAL_MS = 2_000
/** Pause after a read, as a multiple of its duration: frequent changes take at most a fifth of the time. */
const PAUSE_FACTOR = 4
const TIMEOUT_MS = 2_000

export interface RuntimeEntrySyncHooks {
  readonly clock: Clock
  readonly logger: Logger
  /** Returns every entry in effect on this node. */
  listEntries(): readonly (readonly [RuntimeEntryKind, RuntimeEntry])[]
  /**
   * Takes over the entries of all kinds, except those in `unsent`, which this node has yet to write. Returns the names of
   * those that could not be applied.
   */
  merge(sharedEntries: readonly SharedEntry[], unsent: ReadonlySet<string>): ReadonlySet<string>
}

/** Returns true if the store refused an operation for lack of a permission (Redis ACL, NATS permissions). */
function isMissingRight(error: unknown): boolean {
  return /NOPERM|ACL failure|no permissions|can't run this command|permissions violation/i.test(String(error))
}

/** Returns the name of an entry, unique across kinds. */
export function buildEntryName(kind: string, id: string): string {
  return `${kind} ${id}`
}

/**
 * Synchronises runtime entries between the nodes of a store. Each change is written to the store at once and
 * read by the other nodes. While the store is unreachable, changes apply on this node only and are written
 * later.
 */
export class RuntimeEntrySync {
  readonly #sharedEntries: SharedEntries
  readonly #hooks: RuntimeEntrySyncHooks
  readonly #watch: SharedEntriesWatch | undefined
  /** Changes that are not written yet, oldest first. */
  readonly #unsent = new Map<
    string,
    { readonly kind: RuntimeEntryKind; readonly id: string; readonly entry: RuntimeEntry | undefined }
  >()
  #version: string | undefined
  #refusedEntries: ReadonlySet<string> = new Set()
  /** Called after the entries of a version were applied. */
  onApplied: () => void = () => {}
  #polling: Promise<void> | undefined
  #writing: Promise<void> | undefined
  #cancelTimer: (() => void) | undefined
  /**
   * Set if a change was notified since the last poll began; `#missesNotifications` if a poll found a change without
   * a notification.
   */
  #isNotified = false
  #missesNotifications = false
  #pausedUntilMs = Number.NEGATIVE_INFINITY
  #isFailing = false
  #failingSinceMs = Number.NEGATIVE_INFINITY
  #hasWarned = false
  #isClosed = false

  /** Names of entries sent while a list is being read; undefined otherwise. */
  #sentDuringRead: Set<string> | undefined

  constructor(sharedEntries: SharedEntries, hooks: RuntimeEntrySyncHooks) {
    this.#sharedEntries = sharedEntries
    this.#hooks = hooks
    this.#watch = sharedEntries.watch?.(() => this.#onNotified())
  }

  /** Writes an entry for the other nodes. Also resolves if the store is unreachable. */
  async share(kind: RuntimeEntryKind, id: string, entry: RuntimeEntry | undefined): Promise<void> {
    const change = { kind, id, entry }
    const name = buildEntryName(kind, id)
    this.#unsent.delete(name)
    // Bounded even if the store stays unreachable. Beyond the bound, the oldest change stays local to this
    // node.
    if (this.#unsent.size >= MAX_SIZES.sharedEntries) this.#unsent.delete(this.#unsent.keys().next().value!)
    this.#unsent.set(name, change)
    do await this.#writeRound()
    while (this.#unsent.get(name) === change && !this.#isFailing && !this.#isClosed)
  }

  /** Returns true if no change of an entry waits to be written. */
  isWritten(kind: RuntimeEntryKind, id: string): boolean {
    return !this.#unsent.has(buildEntryName(kind, id))
  }

  /** Version of the shared entries that this node has applied; empty before the first. */
  get appliedVersion(): string {
    return this.#version ?? ''
  }

  /** Names of the entries of that version that could not be applied. */
  get refusedEntries(): ReadonlySet<string> {
    return this.#refusedEntries
  }

  /** Polls the store once and schedules the next poll. Never rejects. */
  poll(): Promise<void> {
    if (this.#polling === undefined) {
      this.#cancelTimer?.()
      const wasNotified = this.#isNotified
      this.#isNotified = false
      const beganMs = this.#hooks.clock.now()
      this.#polling = this.#runLogged(() => this.#pollOnce(wasNotified)).finally(() => {
        this.#polling = undefined
        const endMs = this.#hooks.clock.now()
        this.#pausedUntilMs = endMs + Math.min(POLL_INTERVAL_MS, PAUSE_FACTOR * (endMs - beganMs))
        this.#schedulePoll()
      })
    }
    return this.#polling
  }

  /** Stops polling. Writes pending changes within two seconds if the store is reachable. Never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelTimer?.()
    this.#watch?.close()
    if (this.#unsent.size === 0 || this.#isFailing) return
    // Twice, because the round under way may have missed the last change.
    const writeTwice = async (): Promise<void> => {
      await this.#writeRound()
      if (!this.#isFailing) await this.#writeRound()
    }
    await this.#withTimeout(writeTwice).catch(() => {})
  }

  /** Runs one round of writes at a time. Later changes go with the next round. Never rejects. */
  #writeRound(): Promise<void> {
    this.#writing ??= this.#runLogged(() => this.#writePending()).finally(() => {
      this.#writing = undefined
    })
    return this.#writing
  }

  #onNotified(): void {
    this.#isNotified = true
    this.#missesNotifications = false
    if (this.#polling === undefined) this.#schedulePoll()
  }

  #schedulePoll(): void {
    if (this.#isClosed) return
    this.#cancelTimer?.()
    const waitMs = this.#isNotified ? this.#pausedUntilMs - this.#hooks.clock.now() : this.#intervalMs()
    if (waitMs <= 0) void this.poll()
    else this.#cancelTimer = this.#hooks.clock.after(waitMs, () => void this.poll())
  }

  #intervalMs(): number {
    const isNotified = this.#watch?.isLive() && !this.#missesNotifications && !this.#isFailing
    return isNotified ? NOTIFIED_POLL_INTERVAL_MS : POLL_INTERVAL_MS
  }

  async #pollOnce(wasNotified: boolean): Promise<void> {
    await this.#writePending()
    const version = await this.#withTimeout(() => this.#sharedEntries.version())
    if (version === this.#version) return
    this.#missesNotifications = !wasNotified && !this.#isNotified && this.#version !== undefined
    if (version === '' && this.#version !== undefined) {
      // The store has lost all entries: each node writes its own again.
      this.#version = undefined
      for (const [kind, entry] of this.#hooks.listEntries()) {
        this.#unsent.set(buildEntryName(kind, entry.id), { kind, id: entry.id, entry })
      }
      return this.#writePending()
    }
    const sent = new Set<string>()
    this.#sentDuringRead = sent
    try {
      const sharedEntries = await this.#withTimeout(() => this.#sharedEntries.list())
      if (this.#isClosed) return
      this.#version = version
      // The list may be older than an entry sent while it was read. This runs in one step with the merge,
      // because answers come in batches.
      this.#refusedEntries = this.#hooks.merge(sharedEntries, new Set([...this.#unsent.keys(), ...sent]))
      this.onApplied()
    } finally {
      this.#sentDuringRead = undefined
    }
  }

  async #writePending(): Promise<void> {
    for (const name of [...this.#unsent.keys()]) {
      // Read here and not before: a newer change may have replaced the one that waited.
      const change = this.#unsent.get(name)
      if (change === undefined) continue
      const { kind, id, entry } = change
      const isExpired = (entry?.expiresAtMs ?? Infinity) <= this.#hooks.clock.now()
      if (isExpired) {
        this.#unsent.delete(name)
        continue
      }
      await this.#withTimeout(() => {
        if (entry === undefined) return this.#sharedEntries.remove(kind, id)
        const { expiresAtMs } = entry
        return this.#sharedEntries.put({
          kind,
          id,
          json: JSON.stringify(entry),
          expiresAtMs,
        })
      })
      this.#sentDuringRead?.add(name)
      // An entry that changed meanwhile is sent again.
      if (this.#unsent.get(name) === change) this.#unsent.delete(name)
    }
  }

  #withTimeout<T>(ask: () => T | Promise<T>): Promise<T> {
    return withTimeout(this.#hooks.clock, TIMEOUT_MS, ask)
  }

  async #runLogged(run: () => Promise<void>): Promise<void> {
    try {
      await run()
      this.#isFailing = false
      if (this.#hasWarned && !this.#isClosed)
        this.#hooks.logger.info({}, 'bans, overrides and exemptions are shared again')
      this.#hasWarned = false
    } catch (err) {
      const nowMs = this.#hooks.clock.now()
      if (!this.#isFailing) this.#failingSinceMs = nowMs
      this.#isFailing = true
      // A store that was just opened may not be connected yet. A missing permission does not come by waiting.
      const isLasting = nowMs - this.#failingSinceMs >= TIMEOUT_MS || isMissingRight(err)
      if (this.#hasWarned || this.#isClosed || !isLasting) return
      this.#hasWarned = true
      this.#hooks.logger.warn({ err }, 'bans, overrides and exemptions are not shared now')
    }
  }
}
