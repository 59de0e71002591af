import { senderKeyOf } from '../chain/rules/tiers.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MaybePromise, Sender } from '../core/message.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'
import { withTimeout } from '../core/with-timeout.ts'

/** Options for looking up the tier of a sender. `of` returns undefined if the tier is unknown. */
export interface TierLookup {
  readonly of: (sender: Sender) => MaybePromise<string | undefined>
  /** Longest wait for an answer. After it, the sender's own tier or the default applies. Default: 1000. */
  readonly timeoutMs?: number | undefined
  /**
   * Lifetime of an answer, including a missing one. An expired answer still applies while it is looked up
   * again. Default: 60000.
   */
  readonly keepMs?: number | undefined
}

const OPTIONS: OptionNames<TierLookup> = { of: true, timeoutMs: true, keepMs: true }

interface Found {
  readonly tier: string | undefined
  readonly atMs: number
}

/** Cache of the answers of a tier lookup, by sender. Bounded. Never throws. */
export class TierCache {
  readonly #lookup: TierLookup
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #renew: () => void
  readonly #found = new Map<string, Found>()
  readonly #pendingLookup = new Map<string, Promise<void>>()
  #waitedFor: Promise<void> | undefined
  readonly #keepMs: number
  #cancel: (() => void) | undefined

  constructor(lookup: TierLookup, clock: Clock, logger: Logger, renew: () => void) {
    checkOptionNames(lookup, OPTIONS, 'tierOf')
    this.#lookup = lookup
    this.#clock = clock
    this.#logger = logger
    this.#renew = renew
    this.#keepMs = lookup.keepMs ?? 60_000
  }

  /**
   * Returns the tier of a sender as far as it is known. If it is not, {@link takePendingLookup} returns the
   * lookup to wait for.
   */
  of(sender: Sender): string | undefined {
    const key = senderKeyOf(sender)
    const found = this.#found.get(key)
    if (found === undefined || found.atMs + this.#keepMs <= this.#clock.now()) {
      const pendingLookup = this.#pendingLookup.get(key) ?? this.#seek(key, sender)
      if (found === undefined) this.#waitedFor = pendingLookup
    }
    return (this.#found.get(key) ?? found)?.tier
  }

  /** Returns the pending lookup of the sender asked for last, once. */
  takePendingLookup(): Promise<void> | undefined {
    const waited = this.#waitedFor
    this.#waitedFor = undefined
    return waited
  }

  close(): void {
    this.#cancel?.()
  }

  #seek(key: string, sender: Sender): Promise<void> | undefined {
    // Too many lookups at once: the default applies, and the next message of the sender looks it up again.
    if (this.#pendingLookup.size >= MAX_SIZES.tiersSought) return undefined
    let answer: MaybePromise<string | undefined>
    try {
      answer = this.#lookup.of(sender)
    } catch (err) {
      this.#keep(key, undefined, err)
      return undefined
    }
    if (!(answer instanceof Promise)) {
      this.#keep(key, answer)
      return undefined
    }
    const promised = answer
    const pendingLookup = withTimeout(this.#clock, this.#lookup.timeoutMs ?? 1_000, () => promised).then(
      tier => this.#arrive(key, tier),
      err => this.#arrive(key, undefined, err),
    )
    this.#pendingLookup.set(key, pendingLookup)
    return pendingLookup
  }

  #arrive(key: string, tier: string | undefined, err?: unknown): void {
    this.#pendingLookup.delete(key)
    const before = this.#found.get(key)
    // A known tier stays valid if a later lookup fails.
    this.#keep(key, err === undefined ? tier : before?.tier, err)
    if (before !== undefined && before.tier !== this.#found.get(key)?.tier) this.#renew()
  }

  #keep(key: string, tier: string | undefined, err?: unknown): void {
    if (err !== undefined) this.#logger.warn({ err }, 'the tier of a sender could not be looked up')
    this.#found.delete(key)
    if (this.#found.size >= MAX_SIZES.tiersFound) this.#found.delete(this.#found.keys().next().value!)
    this.#found.set(key, { tier, atMs: this.#clock.now() })
    this.#cancel ??= this.#clock.after(this.#keepMs, () => this.#age())
  }

  /** Forgets old answers of senders that have gone, and makes active senders look theirs up again. */
  #age(): void {
    this.#cancel = undefined
    const nowMs = this.#clock.now()
    for (const [key, { atMs }] of this.#found) if (atMs + 3 * this.#keepMs <= nowMs) this.#found.delete(key)
    if (this.#found.size === 0) return
    this.#renew()
    this.#cancel = this.#clock.after(this.#keepMs, () => this.#age())
  }
}
