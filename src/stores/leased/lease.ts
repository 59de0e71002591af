import type { Limit } from '../../algorithms/limit.ts'
import type { Verdict } from '../store.ts'
import type { LeaseTerms } from './lease-terms.ts'

/** A rule that has leases: its numbers and what can be lent of it. */
export interface LeasedRule {
  limit: Limit
  readonly leaseTerms: LeaseTerms
  readonly leases: Map<string, Lease>
}

/**
 * What a node holds and knows of one key of one rule: units it may spend by itself, in two parts by age, and until
 * when the shared store has refused it more. Times are of the node's clock, amounts are grains.
 */
export class Lease {
  readonly rule: LeasedRule
  readonly key: string
  readonly ttlMs: number
  /** All that may be spent; `older` of it is void earlier. What is older is spent first. */
  grains = 0
  older = 0
  olderUntilMs = 0
  untilMs = 0
  /** When the window it was granted in ends; after that it cannot be given back. */
  endsAtMs = Infinity
  /** Below this more is asked for ahead of time; 0 for never. */
  lowGrains = 0
  /** Used since the shared store was last asked, at `askedAtMs`. */
  usedGrains = 0
  askedAtMs: number
  /** On the way here. */
  comingGrains = 0
  /** What messages wait for. */
  waitingGrains = 0
  /** Before this nothing is asked for ahead of time. */
  askAfterMs = 0
  /** Until then nothing is lent: somebody answers in the store's place. */
  directUntilMs = 0
  pending: Promise<void> | undefined
  /** No longer in the book: what still arrives goes back at once. */
  gone = false
  /** When the book looks at it next, in its own count of time. */
  dueTick = 0
  /** What the shared store said last. */
  sharedGrains: number | undefined
  heardAtMs = 0
  resetAtMs = 0
  /** Costs from here on are refused in [refusedAtMs, refusedUntilMs). */
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

  /** Grains that may be spent at a moment. What is void at it, or from a time that has not come yet, may not. */
  usable(nowMs: number): number {
    if (!this.isLive(this.untilMs, nowMs)) return 0
    return this.older > 0 && !this.isLive(this.olderUntilMs, nowMs) ? this.grains - this.older : this.grains
  }

  /** Removes what is void, and returns how much that was. */
  expire(nowMs: number): number {
    const usable = this.usable(nowMs)
    const gone = this.grains - usable
    if (gone > 0) {
      this.older = usable === 0 ? 0 : Math.max(0, this.older - gone)
      this.grains = usable
    }
    return gone
  }

  /** Spends grains that are there. */
  spend(grains: number): void {
    this.grains -= grains
    this.older = this.older > grains ? this.older - grains : 0
    this.usedGrains += grains
  }

  /** Adds what was granted, and is void from `untilMs` on. */
  add(grains: number, untilMs: number): void {
    if (this.grains === 0) {
      this.older = 0
      this.untilMs = untilMs
    } else if (this.older === 0) {
      this.older = this.grains
      this.olderUntilMs = Math.min(this.untilMs, untilMs)
      this.untilMs = untilMs
    } else {
      this.untilMs = Math.min(this.untilMs, untilMs)
    }
    this.grains += grains
    this.refusedGrains = Infinity
  }

  /** Takes back what was spent for nothing, as far as there is room and the lease lasts; returns the rest. */
  takeBack(grains: number, nowMs: number): number {
    this.refusedGrains = Infinity
    // In an empty lease `untilMs` is still that of the part spent last.
    if (!this.isLive(this.untilMs, nowMs)) return grains
    const kept = Math.max(
      0,
      Math.min(grains, this.rule.leaseTerms.mostGrains - this.grains - this.comingGrains),
    )
    if (this.older > 0) this.older += kept
    this.grains += kept
    this.usedGrains = Math.max(0, this.usedGrains - kept)
    return grains - kept
  }

  /** Remembers what the shared store said of this key. */
  hear(verdict: Verdict, nowMs: number): void {
    this.sharedGrains = verdict.remaining * this.rule.limit.scale
    this.heardAtMs = nowMs
    this.resetAtMs = nowMs + verdict.resetMs
  }

  /** Remembers that costs from `grains` on are refused, for as long as was said but no longer than a lease lasts. */
  refuse(grains: number, retryAfterMs: number, nowMs: number): void {
    this.refusedGrains = this.isRefusing(nowMs) ? Math.min(grains, this.refusedGrains) : grains
    this.refusedAtMs = nowMs
    this.refusedUntilMs = nowMs + Math.min(retryAfterMs, this.ttlMs)
    this.retryAtMs = nowMs + retryAfterMs
  }

  isRefusing(nowMs: number): boolean {
    return nowMs < this.refusedUntilMs && nowMs >= this.refusedAtMs
  }

  refuses(grains: number, nowMs: number): boolean {
    return grains >= this.refusedGrains && this.isRefusing(nowMs)
  }

  /** The verdict on a cost that was spent here, or would fit. */
  allow(grains: number, nowMs: number): Verdict {
    const left = grains + (this.sharedGrains ?? 0)
    const { scale } = this.rule.limit
    return {
      allowed: true,
      remaining: scale === 1 ? left : Math.floor(left / scale),
      retryAfterMs: 0,
      resetMs: nowMs < this.resetAtMs ? this.resetAtMs - nowMs : 0,
    }
  }

  /** The verdict on a cost of `grains` that is refused here: with the wait the shared store named. */
  deny(grains: number, nowMs: number): Verdict {
    const { limit, leaseTerms } = this.rule
    const more = leaseTerms.windowed
      ? 0
      : ((grains - this.refusedGrains) * limit.periodMs) / limit.countGrains
    const never = grains > limit.capacityGrains
    return {
      allowed: false,
      remaining: Math.floor((this.usable(nowMs) + (this.sharedGrains ?? 0)) / limit.scale),
      retryAfterMs: never ? Infinity : Math.max(1, this.retryAtMs - nowMs + Math.ceil(more)),
      resetMs: Math.max(0, this.resetAtMs - nowMs),
    }
  }

  /** The next moment at which something of this is to be put away. */
  get deadlineMs(): number {
    if (this.grains === 0) return Math.max(this.heardAtMs, this.askedAtMs) + this.ttlMs
    return this.older > 0 ? Math.min(this.olderUntilMs, this.untilMs) : this.untilMs
  }

  /** A lease is younger than its ttl; one whose end lies further ahead is from before the clock was set back. */
  private isLive(untilMs: number, nowMs: number): boolean {
    return nowMs < untilMs && untilMs - nowMs <= this.ttlMs
  }
}
