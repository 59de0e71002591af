import type { Limit, Verdict } from '../../algorithms/limit-types.ts'
import type { LeaseTerms } from './lease-terms.ts'

const NEVER_MS = -1

/** Generation of a lease that cannot be found by its slot. */
export const NO_LEASE_GENERATION = 0

/** Rule with leases: its limit and lease bounds. */
export interface LeasedRule {
  limit: Limit
  readonly leaseTerms: LeaseTerms
  readonly leases: Map<string, Lease>
}

/**
 * Lease of one key of one rule: units to spend locally, in two parts by age, and the latest refusal of the shared
 * store. Times are of the node's clock, amounts are grains.
 */
export class Lease {
  readonly rule: LeasedRule
  readonly key: string
  readonly ttlMs: number
  /** All spendable grains. `olderGrains` of them expire first, at `olderUntilMs`, and are spent first. */
  grains = 0
  olderGrains = 0
  olderUntilMs = 0
  untilMs = 0
  /** End of the window that granted the units; later they cannot be returned. */
  endsAtMs = Infinity
  /** Threshold below which more is requested ahead of time; 0: never. */
  lowGrains = 0
  /** Grains used since the last request, at `askedAtMs`. */
  usedGrains = 0
  askedAtMs: number
  /** Grains requested and not yet received. */
  comingGrains = 0
  /** Grains that messages wait for. */
  waitingGrains = 0
  /** Earliest time of the next request ahead of time. */
  askAfterMs = 0
  /** Nothing is leased before this time, because a fallback answers for the store. */
  directUntilMs = 0
  pending: Promise<void> | undefined
  /** True while more units are about to be requested ahead of time. */
  isRenewalDue = false
  /** True once removed from the table; units that still arrive are returned at once. */
  isClosed = false
  /** Tick at which the table processes it next. */
  dueTick = 0
  /** Place in the table. `generation` is that of no other lease, or {@link NO_LEASE_GENERATION} if the lease must not be found. */
  slot = 0
  generation = NO_LEASE_GENERATION
  /** Latest report of the shared store. */
  sharedGrains: number | undefined
  reportedAtMs = 0
  resetAtMs = 0
  /** Latest time at which no grain was expired: many messages share a time. */
  #unexpiredAtMs = NEVER_MS
  /** Costs of at least this are refused in [refusedAtMs, refusedUntilMs). */
  refusedGrains = Infinity
  refusedAtMs = 0
  refusedUntilMs = 0
  retryAtMs = 0

  constructor(rule: LeasedRule, key: string, ttlMs: number, nowMs: number) {
    this.rule = rule
    this.key = key
    this.ttlMs = ttlMs
    this.askedAtMs = nowMs
  }

  /** Returns the grains that may be spent at a time; excludes expired ones and ones from a future time. */
  usable(nowMs: number): number {
    if (nowMs === this.#unexpiredAtMs) return this.grains
    const usable = this.#countUsable(nowMs)
    if (usable === this.grains) this.#unexpiredAtMs = nowMs
    return usable
  }

  #countUsable(nowMs: number): number {
    if (!this.isLive(this.untilMs, nowMs)) return 0
    return this.olderGrains > 0 && !this.isLive(this.olderUntilMs, nowMs)
      ? this.grains - this.olderGrains
      : this.grains
  }

  /** Removes expired grains; returns how many. */
  expire(nowMs: number): number {
    const usable = this.usable(nowMs)
    const expired = this.grains - usable
    if (expired > 0) {
      this.olderGrains = usable === 0 ? 0 : Math.max(0, this.olderGrains - expired)
      this.grains = usable
    }
    return expired
  }

  spend(grains: number): void {
    this.grains -= grains
    this.olderGrains = this.olderGrains > grains ? this.olderGrains - grains : 0
    this.usedGrains += grains
  }

  /** Adds granted grains that expire at `untilMs`. */
  add(grains: number, untilMs: number): void {
    this.#unexpiredAtMs = NEVER_MS
    if (this.grains === 0) {
      this.olderGrains = 0
      this.untilMs = untilMs
    } else if (this.olderGrains === 0) {
      this.olderGrains = this.grains
      this.olderUntilMs = Math.min(this.untilMs, untilMs)
      this.untilMs = untilMs
    } else {
      this.untilMs = Math.min(this.untilMs, untilMs)
    }
    this.grains += grains
    this.refusedGrains = Infinity
  }

  /** Restores grains of a reverted spend, if there is room and the lease is live; returns the rest. */
  restore(grains: number, nowMs: number): number {
    this.refusedGrains = Infinity
    // In an empty lease `untilMs` is still that of the part spent last.
    if (!this.isLive(this.untilMs, nowMs)) return grains
    const kept = Math.max(
      0,
      Math.min(grains, this.rule.leaseTerms.maxGrains - this.grains - this.comingGrains),
    )
    if (this.olderGrains > 0) this.olderGrains += kept
    this.grains += kept
    this.usedGrains = Math.max(0, this.usedGrains - kept)
    return grains - kept
  }

  /** Records the shared store's verdict on this key. */
  recordVerdict(verdict: Verdict, nowMs: number): void {
    this.sharedGrains = verdict.remaining * this.rule.limit.scale
    this.reportedAtMs = nowMs
    this.resetAtMs = nowMs + verdict.resetMs
  }

  /** Records that costs from `grains` on are refused for the given time, at most one ttl. */
  recordRefusal(grains: number, retryAfterMs: number, nowMs: number): void {
    this.refusedGrains = this.isRefusing(nowMs) ? Math.min(grains, this.refusedGrains) : grains
    this.refusedAtMs = nowMs
    this.refusedUntilMs = nowMs + Math.min(retryAfterMs, this.ttlMs)
    this.retryAtMs = nowMs + retryAfterMs
  }

  isRefusing(nowMs: number): boolean {
    return nowMs < this.refusedUntilMs && nowMs >= this.refusedAtMs
  }

  isRefused(grains: number, nowMs: number): boolean {
    return grains >= this.refusedGrains && this.isRefusing(nowMs)
  }

  /** Returns the verdict on a cost that was spent here, or would fit. */
  allow(grains: number, nowMs: number): Verdict {
    return {
      allowed: true,
      remaining: this.remainingWith(grains),
      retryAfterMs: 0,
      resetMs: this.resetMs(nowMs),
    }
  }

  /** Returns the verdict on a refused cost of `grains`, with the wait reported by the shared store. */
  deny(grains: number, nowMs: number): Verdict {
    return {
      allowed: false,
      remaining: this.remainingWith(this.usable(nowMs)),
      retryAfterMs: this.retryAfterMs(grains, nowMs),
      resetMs: this.resetMs(nowMs),
    }
  }

  /** Returns whole units: grains held here and those last reported by the shared store. */
  remainingWith(grains: number): number {
    const left = grains + (this.sharedGrains ?? 0)
    const { scale } = this.rule.limit
    return scale === 1 ? left : Math.floor(left / scale)
  }

  /** Returns the wait of a refused cost; Infinity if it never fits. */
  retryAfterMs(grains: number, nowMs: number): number {
    const { limit, leaseTerms } = this.rule
    if (grains > limit.capacityGrains) return Infinity
    const moreMs = leaseTerms.isWindowed
      ? 0
      : ((grains - this.refusedGrains) * limit.periodMs) / limit.countGrains
    return Math.max(1, this.retryAtMs - nowMs + Math.ceil(moreMs))
  }

  /** Returns the time until the key is full again, as last reported by the shared store. */
  resetMs(nowMs: number): number {
    return nowMs < this.resetAtMs ? this.resetAtMs - nowMs : 0
  }

  /** Next time at which a part of this lease expires. */
  get deadlineMs(): number {
    if (this.grains === 0) return Math.max(this.reportedAtMs, this.askedAtMs) + this.ttlMs
    return this.olderGrains > 0 ? Math.min(this.olderUntilMs, this.untilMs) : this.untilMs
  }

  /** Returns true before `untilMs`. An end further ahead than the ttl is from before a clock step backwards. */
  private isLive(untilMs: number, nowMs: number): boolean {
    return nowMs < untilMs && untilMs - nowMs <= this.ttlMs
  }
}
