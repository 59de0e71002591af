import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { withTimeout } from '../core/with-timeout.ts'
import type { SharedEntries, SharedEntriesWatch, SharedEntry } from '../stores/shared-entries.ts'
import type { EntryKind, RuntimeEntry } from './runtime-entry.ts'

/** How often a node that is not told looks whether another has changed something: all know within a second. */
const LOOK_EVERY_MS = 400
/** How often a node that is told of changes looks nonetheless, as what tells it may lose something. */
const TOLD_LOOK_EVERY_MS = 2_000
/** Where changes come one upon another, reading them takes no more than a fifth of the time. */
const REST_FACTOR = 4
const PATIENCE_MS = 2_000

export interface ConfigSyncHooks {
  readonly clock: Clock
  readonly logger: Logger
  /** All that is in effect here. */
  known(): readonly (readonly [EntryKind, RuntimeEntry])[]
  /** All notes of all kinds, but for those of `untold`, which this node has yet to tell. */
  merge(sharedEntries: readonly SharedEntry[], unsent: ReadonlySet<string>): void
}

/** Whether a store refused for want of a right: Redis by its ACL, NATS by its permissions. */
function isMissingRight(error: unknown): boolean {
  return /NOPERM|ACL failure|no permissions|can't run this command|permissions violation/i.test(String(error))
}

/** How a note is called across kinds. */
export function sharedName(kind: string, id: string): string {
  return `${kind} ${id}`
}

/**
 * What the nodes of one store tell each other: what is said on one is told to the store at once, and asked for by the
 * others. While the store is out of reach, what is said here counts here, and is told later.
 */
export class ConfigSync {
  readonly #sharedEntries: SharedEntries
  readonly #hooks: ConfigSyncHooks
  readonly #watch: SharedEntriesWatch | undefined
  /** What is not told yet, the oldest first. */
  readonly #unsent = new Map<
    string,
    { readonly kind: EntryKind; readonly id: string; readonly note: RuntimeEntry | undefined }
  >()
  #version: string | undefined
  #looking: Promise<void> | undefined
  #telling: Promise<void> | undefined
  #cancel: (() => void) | undefined
  /** A change was told of since the last look began; and one was found that nobody had told of. */
  #told = false
  #deaf = false
  #restUntilMs = Number.NEGATIVE_INFINITY
  #failing = false
  #failingSinceMs = Number.NEGATIVE_INFINITY
  #warned = false
  #closed = false

  /** Names of entries that were sent while a list is on its way; undefined while none is. */
  #sentMeanwhile: Set<string> | undefined

  constructor(sharedEntries: SharedEntries, hooks: ConfigSyncHooks) {
    this.#sharedEntries = sharedEntries
    this.#hooks = hooks
    this.#watch = sharedEntries.watch?.(() => this.#hear())
  }

  /** Tells the other nodes; resolves also where the store is out of reach. */
  async tell(kind: EntryKind, id: string, note: RuntimeEntry | undefined): Promise<void> {
    const told = { kind, id, note }
    const name = sharedName(kind, id)
    this.#unsent.delete(name)
    // Bounded also where the store stays away while bans come and go: of too many the oldest is known here only.
    if (this.#unsent.size >= MAX_SIZES.sharedEntries) this.#unsent.delete(this.#unsent.keys().next().value!)
    this.#unsent.set(name, told)
    do await this.#tellNow()
    while (this.#unsent.get(name) === told && !this.#failing && !this.#closed)
  }

  /** Asks the store once, and from then on again and again. Never rejects. */
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

  /** Ends; what is not told yet is told still, within two seconds and where the store is in reach. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    this.#watch?.close()
    if (this.#unsent.size === 0 || this.#failing) return
    // Twice: what was said last may have missed the round that runs.
    const tellTwice = async (): Promise<void> => {
      await this.#tellNow()
      if (!this.#failing) await this.#tellNow()
    }
    await this.#withTimeout(tellTwice).catch(() => {})
  }

  /** One round at a time for all: what is told meanwhile goes with the next. Never rejects. */
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
      // The store has lost all: whoever still knows something tells it again.
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
      // The list may be older than what was sent while it came. In one step with the merge: answers come in batches.
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
      // Said anew meanwhile, it is told anew.
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
      // A store that has only just been opened may not be connected yet; a missing right does not come by waiting.
      const isLasting = nowMs - this.#failingSinceMs >= PATIENCE_MS || isMissingRight(err)
      if (this.#warned || this.#closed || !isLasting) return
      this.#warned = true
      this.#hooks.logger.warn({ err }, 'bans, overrides and exemptions are not shared now')
    }
  }
}
