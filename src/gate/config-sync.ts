import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { withTimeout } from '../core/with-timeout.ts'
import type { SharedEntries, SharedEntriesWatch, SharedEntry } from '../stores/shared-entries.ts'
import type { EntryKind, RuntimeEntry } from './runtime-entry.ts'

/** Poll interval if the store sends no change notifications: all nodes know a change within a second. */
const LOOK_EVERY_MS = 400
/** Poll interval if the store notifies of changes. Because notifications can get lost, polling never stops. */
const TOLD_LOOK_EVERY_MS = 2_000
/** Pause after a read, as a multiple of its duration: frequent changes take at most a fifth of the time. */
const REST_FACTOR = 4
const PATIENCE_MS = 2_000

export interface ConfigSyncHooks {
  readonly clock: Clock
  readonly logger: Logger
  /** Returns every entry in effect on this node. */
  known(): readonly (readonly [EntryKind, RuntimeEntry])[]
  /** Takes over the entries of all kinds, except those in `unsent`, which this node has yet to write. */
  merge(sharedEntries: readonly SharedEntry[], unsent: ReadonlySet<string>): void
}

/** Returns true if the store refused an operation for lack of a permission (Redis ACL, NATS permissions). */
function isMissingRight(error: unknown): boolean {
  return /NOPERM|ACL failure|no permissions|can't run this command|permissions violation/i.test(String(error))
}

/** Returns the name of an entry, unique across kinds. */
export function sharedName(kind: string, id: string): string {
  return `${kind} ${id}`
}

/**
 * Synchronises runtime entries between the nodes of a store. Each change is written to the store at once and
 * read by the other nodes. While the store is unreachable, changes apply on this node only and are written
 * later.
 */
export class ConfigSync {
  readonly #sharedEntries: SharedEntries
  readonly #hooks: ConfigSyncHooks
  readonly #watch: SharedEntriesWatch | undefined
  /** Changes that are not written yet, oldest first. */
  readonly #unsent = new Map<
    string,
    { readonly kind: EntryKind; readonly id: string; readonly note: RuntimeEntry | undefined }
  >()
  #version: string | undefined
  #looking: Promise<void> | undefined
  #telling: Promise<void> | undefined
  #cancel: (() => void) | undefined
  /**
   * Set if a change was notified since the last poll began; `#missesNotifications` if a poll found a change without
   * a notification.
   */
  #told = false
  #deaf = false
  #restUntilMs = Number.NEGATIVE_INFINITY
  #failing = false
  #failingSinceMs = Number.NEGATIVE_INFINITY
  #warned = false
  #closed = false

  /** Names of entries sent while a list is being read; undefined otherwise. */
  #sentMeanwhile: Set<string> | undefined

  constructor(sharedEntries: SharedEntries, hooks: ConfigSyncHooks) {
    this.#sharedEntries = sharedEntries
    this.#hooks = hooks
    this.#watch = sharedEntries.watch?.(() => this.#hear())
  }

  /** Writes an entry for the other nodes. Also resolves if the store is unreachable. */
  async tell(kind: EntryKind, id: string, note: RuntimeEntry | undefined): Promise<void> {
    const told = { kind, id, note }
    const name = sharedName(kind, id)
    this.#unsent.delete(name)
    // Bounded even if the store stays unreachable. Beyond the bound, the oldest change stays local to this
    // node.
    if (this.#unsent.size >= MAX_SIZES.sharedEntries) this.#unsent.delete(this.#unsent.keys().next().value!)
    this.#unsent.set(name, told)
    do await this.#tellNow()
    while (this.#unsent.get(name) === told && !this.#failing && !this.#closed)
  }

  /** Polls the store once and schedules the next poll. Never rejects. */
  look(): Promise<void> {
    if (this.#looking === undefined) {
      this.#cancel?.()
      const wasTold = this.#told
      this.#told = false
      const beganMs = this.#hooks.clock.now()
      this.#looking = this.#attempt(() => this.#ask(wasTold)).finally(() => {
        this.#looking = undefined
        const endMs = this.#hooks.clock.now()
        this.#restUntilMs = endMs + Math.min(LOOK_EVERY_MS, REST_FACTOR * (endMs - beganMs))
        this.#schedule()
      })
    }
    return this.#looking
  }

  /** Stops polling. Writes pending changes within two seconds if the store is reachable. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    this.#watch?.close()
    if (this.#unsent.size === 0 || this.#failing) return
    // Twice, because the round under way may have missed the last change.
    const tellTwice = async (): Promise<void> => {
      await this.#tellNow()
      if (!this.#failing) await this.#tellNow()
    }
    await this.#withTimeout(tellTwice).catch(() => {})
  }

  /** Runs one round of writes at a time. Later changes go with the next round. Never rejects. */
  #tellNow(): Promise<void> {
    this.#telling ??= this.#attempt(() => this.#tellAll()).finally(() => {
      this.#telling = undefined
    })
    return this.#telling
  }

  #hear(): void {
    this.#told = true
    this.#deaf = false
    if (this.#looking === undefined) this.#schedule()
  }

  #schedule(): void {
    if (this.#closed) return
    this.#cancel?.()
    const waitMs = this.#told ? this.#restUntilMs - this.#hooks.clock.now() : this.#pauseMs()
    if (waitMs <= 0) void this.look()
    else this.#cancel = this.#hooks.clock.after(waitMs, () => void this.look())
  }

  #pauseMs(): number {
    const isTold = this.#watch?.isLive() && !this.#deaf && !this.#failing
    return isTold ? TOLD_LOOK_EVERY_MS : LOOK_EVERY_MS
  }

  async #ask(wasTold: boolean): Promise<void> {
    await this.#tellAll()
    const version = await this.#withTimeout(() => this.#sharedEntries.version())
    if (version === this.#version) return
    this.#deaf = !wasTold && !this.#told && this.#version !== undefined
    if (version === '' && this.#version !== undefined) {
      // The store has lost all entries: each node writes its own again.
      this.#version = undefined
      for (const [kind, note] of this.#hooks.known()) {
        this.#unsent.set(sharedName(kind, note.id), { kind, id: note.id, note })
      }
      return this.#tellAll()
    }
    const sent = new Set<string>()
    this.#sentMeanwhile = sent
    try {
      const sharedEntries = await this.#withTimeout(() => this.#sharedEntries.list())
      if (this.#closed) return
      this.#version = version
      // The list may be older than an entry sent while it was read. This runs in one step with the merge,
      // because answers come in batches.
      this.#hooks.merge(sharedEntries, new Set([...this.#unsent.keys(), ...sent]))
    } finally {
      this.#sentMeanwhile = undefined
    }
  }

  async #tellAll(): Promise<void> {
    for (const [name, told] of [...this.#unsent]) {
      const { kind, id, note } = told
      const isOver = (note?.expiresAtMs ?? Infinity) <= this.#hooks.clock.now()
      if (isOver) {
        this.#unsent.delete(name)
        continue
      }
      await this.#withTimeout(() => {
        if (note === undefined) return this.#sharedEntries.remove(kind, id)
        const { expiresAtMs } = note
        return this.#sharedEntries.put({
          kind,
          id,
          json: JSON.stringify(note),
          ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
        })
      })
      this.#sentMeanwhile?.add(name)
      // An entry that changed meanwhile is sent again.
      if (this.#unsent.get(name) === told) this.#unsent.delete(name)
    }
  }

  #withTimeout<T>(ask: () => T | Promise<T>): Promise<T> {
    return withTimeout(this.#hooks.clock, PATIENCE_MS, ask)
  }

  async #attempt(run: () => Promise<void>): Promise<void> {
    try {
      await run()
      this.#failing = false
      if (this.#warned && !this.#closed)
        this.#hooks.logger.info({}, 'bans, overrides and exemptions are shared again')
      this.#warned = false
    } catch (err) {
      const nowMs = this.#hooks.clock.now()
      if (!this.#failing) this.#failingSinceMs = nowMs
      this.#failing = true
      // A store that was just opened may not be connected yet. A missing permission does not come by waiting.
      const isLasting = nowMs - this.#failingSinceMs >= PATIENCE_MS || isMissingRight(err)
      if (this.#warned || this.#closed || !isLasting) return
      this.#warned = true
      this.#hooks.logger.warn({ err }, 'bans, overrides and exemptions are not shared now')
    }
  }
}
