import type { Limit } from '../../algorithms/limit-types.ts'
import type { Clock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import type { Store, Verdict } from '../store.ts'
import type { Lease } from './lease.ts'
import { type LeaseSettings, sizeLease } from './lease-terms.ts'

/** Units are not returned this close to the end of their window: they could arrive in the next one and add to it. */
const RETURN_MARGIN_MS = 250
/** Smaller leases are renewed only once they are spent. */
const MIN_RENEWED_GRAINS = 4

/** Early renewals are collected for this part of the span, so that they are one message or one pipeline of the store. */
const RENEWALS_PER_SPAN = 10

/** Wait before a spent bucket is asked again, so that more than a few units have refilled. */
const MIN_PAUSE_MS = 20
const MAX_PAUSE_MS = 75

/** Statistics of the calls to the shared store, and of leased units. */
export interface LeaseStats {
  asked: number
  refused: number
  failed: number
  grantedUnits: number
  returnedUnits: number
}

/** Takes units from the shared store and returns them; at most one request per key at a time. */
export class LeaseClient {
  readonly stats: LeaseStats = { asked: 0, refused: 0, failed: 0, grantedUnits: 0, returnedUnits: 0 }
  readonly #store: Store
  readonly #clock: Clock
  readonly #settings: LeaseSettings
  readonly #limitOf: (lease: Lease) => Limit
  /** Refunds in progress. */
  readonly #returns = new Set<Promise<void>>()
  readonly #renewalMs: number
  /** Leases to renew together. */
  #due: Lease[] = []
  #cancelRenewals: (() => void) | undefined

  constructor(store: Store, clock: Clock, settings: LeaseSettings, limitOf: (lease: Lease) => Limit) {
    this.#store = store
    this.#clock = clock
    this.#settings = settings
    this.#renewalMs = Math.ceil(settings.spanMs / RENEWALS_PER_SPAN)
    this.#limitOf = limitOf
  }

  /**
   * Requests a lease for at least `needGrains` more. Concurrent callers for the same key wait for the same answer.
   * Afterwards the lease has units or refuses the cost. Rejects with StoreError if the store is broken.
   */
  requestLease(lease: Lease, needGrains: number): Promise<void> {
    if (lease.pending === undefined) {
      const pending = this.#requestUnits(lease, needGrains)
      const settled = (): void => {
        lease.pending = undefined
        lease.comingGrains = 0
      }
      lease.pending = pending
      pending.then(settled, settled)
      this.#renewDue()
    }
    return lease.pending
  }

  /** Spends grains that are usable, returns expired ones, and requests more if few are left. */
  spend(lease: Lease, grains: number, nowMs: number): void {
    const expired = lease.expire(nowMs)
    if (expired > 0) this.returnUnits(lease, expired, nowMs)
    lease.spend(grains)
    if (lease.grains < lease.lowGrains) this.#renewEarly(lease, nowMs)
  }

  /** Requests units in the background, ahead of time, if possible together with those of other keys. */
  #renewEarly(lease: Lease, nowMs: number): void {
    if (lease.pending !== undefined || lease.isRenewalDue || nowMs < lease.askAfterMs) return
    this.#due.push(lease)
    lease.isRenewalDue = true
    if (!this.#canWait(lease, nowMs)) this.#renewDue()
    else this.#cancelRenewals ??= this.#clock.after(this.#renewalMs, () => this.#renewDue())
  }

  /** Returns true if the units last until the second renewal from now, at the rate since the last request. */
  #canWait(lease: Lease, nowMs: number): boolean {
    return lease.grains * (nowMs - lease.askedAtMs) >= lease.usedGrains * 2 * this.#renewalMs
  }

  #renewDue(): void {
    this.stopRenewals()
    const due = this.#due
    this.#due = []
    for (const lease of due) {
      lease.isRenewalDue = false
      if (lease.isClosed || lease.pending !== undefined || lease.grains >= lease.lowGrains) continue
      this.requestLease(lease, 0).catch(() => {
        lease.askAfterMs = this.#clock.now() + this.#settings.ttlMs
      })
    }
  }

  /** Cancels the timer of renewals. */
  stopRenewals(): void {
    this.#cancelRenewals?.()
    this.#cancelRenewals = undefined
  }

  /** Returns units of a lease to the shared store; drops those of a window about to end. Never throws. */
  returnUnits(lease: Lease, grains: number, nowMs: number): void {
    if (nowMs >= lease.endsAtMs - RETURN_MARGIN_MS) return
    const units = grains / lease.rule.limit.scale
    const charge = { limit: this.#limitOf(lease), key: lease.key, cost: units }
    // Units that cannot be returned are lost until the limit refills, which admits too little but never too much.
    const settled = (async () => this.#store.refund([charge]))().then(
      () => {
        this.stats.returnedUnits += units
      },
      () => {
        this.stats.failed++
      },
    )
    this.#returns.add(settled)
    settled.then(() => this.#returns.delete(settled))
  }

  /** Resolves once every return has arrived or failed. */
  async waitForReturns(): Promise<void> {
    while (this.#returns.size > 0) await Promise.all(this.#returns)
  }

  async #requestUnits(lease: Lease, needGrains: number): Promise<void> {
    const { limit, leaseTerms } = lease.rule
    let grains = this.#nextSize(lease, needGrains)
    let pauseMs = 0
    for (;;) {
      const sentMs = this.#clock.now()
      lease.comingGrains = grains
      const verdict = await this.#decideInStore(lease, grains)
      const nowMs = this.#clock.now()
      if (verdict.fallback !== undefined) {
        // A fallback verdict counts for this node alone, so it is not leased.
        if (verdict.allowed) this.returnUnits(lease, grains, nowMs)
        lease.directUntilMs = nowMs + this.#settings.ttlMs
        return
      }
      lease.recordVerdict(verdict, nowMs)
      if (verdict.allowed) {
        this.#addGranted(lease, grains, sentMs, verdict.resetMs, nowMs)
        // The rest of the limit is used. Asking for every unit that refills would cost a request per message.
        if (pauseMs > 0 && verdict.remaining === 0) lease.recordRefusal(1, pauseMs, nowMs)
        return
      }
      this.stats.refused++
      const isRefill = !leaseTerms.isWindowed
      const waitMs = verdict.retryAfterMs
      // The needed cost fits sooner than the requested one, by the time the difference takes to refill.
      const soonerMs = isRefill ? ((grains - needGrains) * limit.periodMs) / limit.countGrains : 0
      if (grains > needGrains) {
        pauseMs = isRefill ? pauseOf(limit, waitMs) : waitMs
        lease.askAfterMs = nowMs + Math.min(waitMs, this.#settings.ttlMs)
      }
      if (needGrains === 0) return
      const isTooMuch = grains <= needGrains || needGrains >= (verdict.remaining + 1) * limit.scale
      if (isTooMuch) {
        const needMs = Math.max(1, Math.ceil(waitMs - soonerMs))
        lease.recordRefusal(needGrains + lease.usable(nowMs), Math.max(needMs, pauseMs), nowMs)
        return
      }
      grains = Math.max(needGrains, Math.min(verdict.remaining * limit.scale, Math.floor(grains / 2)))
    }
  }

  async #decideInStore(lease: Lease, grains: number): Promise<Verdict> {
    const { limit } = lease.rule
    this.stats.asked++
    try {
      const charge = { limit, key: lease.key, cost: grains / limit.scale }
      const [verdict] = await this.#store.decide([charge], { commit: true })
      if (verdict === undefined)
        throw new StoreError(`the ${this.#store.name} store returned no verdict for a charge`)
      return verdict
    } catch (error) {
      this.stats.failed++
      throw error
    }
  }

  #addGranted(lease: Lease, grains: number, sentMs: number, resetMs: number, nowMs: number): void {
    const { limit, leaseTerms } = lease.rule
    const { ttlMs } = this.#settings
    this.stats.grantedUnits += grains / limit.scale
    const ended = lease.expire(nowMs)
    if (ended > 0) this.returnUnits(lease, ended, nowMs)
    // Counted from the request, because the store took the units no earlier.
    lease.endsAtMs = leaseTerms.isWindowed ? sentMs + resetMs : Infinity
    if (lease.isClosed || nowMs - sentMs >= ttlMs) this.returnUnits(lease, grains, nowMs)
    else lease.add(grains, Math.min(sentMs + ttlMs, lease.endsAtMs))
    if (nowMs - sentMs >= ttlMs) {
      throw new StoreError(
        `the ${this.#store.name} store took ${nowMs - sentMs} ms to grant a lease, longer than its ttlMs: raise ttlMs`,
      )
    }
    lease.lowGrains = lease.grains >= MIN_RENEWED_GRAINS ? Math.floor(lease.grains / 2) : 0
  }

  /** Returns the number of grains to request now. */
  #nextSize(lease: Lease, needGrains: number): number {
    const nowMs = this.#clock.now()
    const { limit, leaseTerms } = lease.rule
    const wanted = sizeLease(
      {
        limit,
        leaseTerms,
        usedGrains: lease.usedGrains,
        elapsedMs: nowMs - lease.askedAtMs,
        sharedGrains: lease.sharedGrains,
        reportAgeMs: nowMs - lease.reportedAtMs,
      },
      this.#settings,
    )
    lease.usedGrains = 0
    lease.askedAtMs = nowMs
    const target = Math.max(wanted, Math.min(lease.waitingGrains, leaseTerms.maxGrains))
    return Math.max(1, needGrains, target - lease.usable(nowMs))
  }
}

/**
 * Returns how long a node does not ask for a spent bucket. The bucket is at most a quarter full by then, so nothing
 * is lost.
 */
function pauseOf(limit: Limit, waitMs: number): number {
  const quarterMs = Math.floor(((limit.capacityGrains / limit.countGrains) * limit.periodMs) / 4)
  return Math.min(Math.max(waitMs, Math.min(MIN_PAUSE_MS, quarterMs)), MAX_PAUSE_MS)
}
