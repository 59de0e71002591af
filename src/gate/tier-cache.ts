import { senderKeyOf } from '../chain/rules/tiers.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MaybePromise, Sender } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { withTimeout } from '../core/with-timeout.ts'

/** Options for looking up the tier of a sender. `of` returns undefined if the tier is unknown. */
export interface TierLookupOptions {
  readonly of: (sender: Sender) => MaybePromise<string | undefined>
  /** Longest wait for an answer. After it, the sender's own tier or the default applies. Default: 1000. */
  readonly timeoutMs?: number | undefined
  /**
   * Lifetime of an answer, including a missing one. An expired answer still applies while it is looked up
   * again. Default: 60000.
   */
  readonly keepMs?: number | undefined
}

const OPTIONS: KnownOptions<TierLookupOptions> = { of: true, timeoutMs: true, keepMs: true }

interface Found {
  readonly tier: string | undefined
  readonly atMs: number
}

/** Cache of the answers of a tier lookup, by sender. Bounded. Never throws. */
export class TierCache {
  readonly #lookup: TierLookupOptions
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #renew: () => void
  readonly #found = new Map<string, Found>()
  readonly #pendingLookups = new Map<string, Promise<void>>()
  readonly #keepMs: number
  #cancelTimer: (() => void) | undefined

  constructor(lookup: TierLookupOptions, clock: Clock, logger: Logger, renew: () => void) {
    checkOptionNames(lookup, OPTIONS, 'tierOf')
    this.#lookup = lookup
    this.#clock = clock
    this.#logger = logger
    this.#renew = renew
    this.#keepMs = lookup.keepMs ?? 60_000
  }

  /** Returns the tier of a sender. If there is no answer yet, returns the pending lookup. */
  tierOf(sender: Sender): string | undefined | Promise<void> {
    const key = senderKeyOf(sender)
    const found = this.#found.get(key)
    if (found === undefined || found.atMs + this.#keepMs <= this.#clock.now()) {
      const pendingLookup = this.#pendingLookups.get(key) ?? this.#startLookup(key, sender)
      if (found === undefined && pendingLookup !== undefined) return pendingLookup
    }
    return (this.#found.get(key) ?? found)?.tier
  }

  close(): void {
    this.#cancelTimer?.()
  }

  #startLookup(key: string, sender: Sender): Promise<void> | undefined {
    // Too many lookups at once: the default applies, and the next message of the sender looks it up again.
    if (this.#pendingLookups.size >= MAX_SIZES.pendingTierLookups) return undefined
    let answer: MaybePromise<string | undefined>
    try {
      answer = this.#lookup.of(sender)
    } catch (err) {
      this.#remember(key, undefined, err)
      return undefined
    }
    if (!(answer instanceof Promise)) {
      this.#remember(key, answer)
      return undefined
    }
    const promise = answer
    const pendingLookup = withTimeout(this.#clock, this.#lookup.timeoutMs ?? 1_000, () => promise).then(
      tier => this.#completeLookup(key, tier),
      err => this.#completeLookup(key, undefined, err),
    )
    this.#pendingLookups.set(key, pendingLookup)
    return pendingLookup
  }

  #completeLookup(key: string, tier: string | undefined, err?: unknown): void {
    this.#pendingLookups.delete(key)
    const before = this.#found.get(key)
    // A known tier stays valid if a later lookup fails.
    this.#remember(key, err === undefined ? tier : before?.tier, err)
    if (before !== undefined && before.tier !== this.#found.get(key)?.tier) this.#renew()
  }

  #remember(key: string, tier: string | undefined, err?: unknown): void {
    if (err !== undefined) this.#logger.warn({ err }, 'the tier of a sender could not be looked up')
    this.#found.delete(key)
    if (this.#found.size >= MAX_SIZES.cachedTiers) this.#found.delete(this.#found.keys().next().value!)
    this.#found.set(key, { tier, atMs: this.#clock.now() })
    this.#cancelTimer ??= this.#clock.after(this.#keepMs, () => this.#expireOld())
  }

  /** Forgets old answers of senders that have gone, and makes active senders look theirs up again. */
  #expireOld(): void {
    this.#cancelTimer = undefined
    const nowMs = this.#clock.now()
    for (const [key, { atMs }] of this.#found) if (atMs + 3 * this.#keepMs <= nowMs) this.#found.delete(key)
    if (this.#found.size === 0) return
    this.#renew()
    this.#cancelTimer = this.#clock.after(this.#keepMs, () => this.#expireOld())
  }
}
