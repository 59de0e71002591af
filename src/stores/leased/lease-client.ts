import type { Limit } from '../../algorithms/limit.ts'
import type { Clock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import type { Store, Verdict } from '../store.ts'
import type { Lease } from './lease.ts'
import { type Measure, sizeLease } from './lease-terms.ts'

/** Units of a window are not given back when it is about to end: they could arrive in the next and add to it. */
const RETURN_MARGIN_MS = 250
/** Smaller leases are not renewed before they are spent. */
const LEAST_RENEWED_GRAINS = 4

/** A bucket that was spent is left alone for so long, that more than a few units flow in, and no longer. */
const SHORTEST_PACE_MS = 20
const LONGEST_PACE_MS = 75

/** What was asked of the shared store for leases, in calls, and in units. */
export interface LeaseFigures {
  asked: number
  refused: number
  failed: number
  grantedUnits: number
  returnedUnits: number
}

/** Takes units from the shared store and brings them back: one request of a key at a time. */
export class LeaseClient {
  readonly figures: LeaseFigures = { asked: 0, refused: 0, failed: 0, grantedUnits: 0, returnedUnits: 0 }
  readonly #store: Store
  readonly #clock: Clock
  readonly #measure: Measure
  readonly #limitOf: (lease: Lease) => Limit
  /** Refunds on their way. */
  readonly #returns = new Set<Promise<void>>()

  constructor(store: Store, clock: Clock, measure: Measure, limitOf: (lease: Lease) => Limit) {
    this.#store = store
    this.#clock = clock
    this.#measure = measure
    this.#limitOf = limitOf
  }

  /**
   * Asks for a lease, of `needGrains` more at the least; whoever asks for the same key meanwhile waits for the same
   * answer. Then the lease has units, or refuses the cost. Rejects with StoreError when the store is broken.
   */
  ask(lease: Lease, needGrains: number): Promise<void> {
    if (lease.pending === undefined) {
      const pending = this.#ask(lease, needGrains)
      const settled = (): void => {
        lease.pending = undefined
        lease.comingGrains = 0
      }
      lease.pending = pending
      pending.then(settled, settled)
    }
    return lease.pending
  }

  /** Asks ahead of time, in the background. */
  renew(lease: Lease, nowMs: number): void {
    if (lease.pending !== undefined || nowMs < lease.askAfterMs) return
    this.ask(lease, 0).catch(() => {
      lease.askAfterMs = this.#clock.now() + this.#measure.ttlMs
    })
  }

  /** Returns units of a lease; those of a window that ends are let go. Never throws. */
  giveBack(lease: Lease, grains: number, nowMs: number): void {
    if (nowMs >= lease.endsAtMs - RETURN_MARGIN_MS) return
    const units = grains / lease.rule.limit.scale
    const charge = { limit: this.#limitOf(lease), key: lease.key, cost: units }
    // What cannot be brought back is lost until the limit refills: too few pass then, never too many.
    const settled = (async () => this.#store.refund([charge]))().then(
      () => {
        this.figures.returnedUnits += units
      },
      () => {
        this.figures.failed++
      },
    )
    this.#returns.add(settled)
    settled.then(() => this.#returns.delete(settled))
  }

  /** Resolves when all that is on its way back has arrived, or could not. */
  async settle(): Promise<void> {
    while (this.#returns.size > 0) await Promise.all(this.#returns)
  }

  async #ask(lease: Lease, needGrains: number): Promise<void> {
    const { limit, leaseTerms } = lease.rule
    let grains = this.#size(lease, needGrains)
    let paceMs = 0
    for (;;) {
      const sentMs = this.#clock.now()
      lease.comingGrains = grains
      const verdict = await this.#request(lease, grains)
      const nowMs = this.#clock.now()
      if (verdict.fallback !== undefined) {
        // Who answers in the store's place counts for this node alone: that is not to be lent.
        if (verdict.allowed) this.giveBack(lease, grains, nowMs)
        lease.directUntilMs = nowMs + this.#measure.ttlMs
        return
      }
      lease.hear(verdict, nowMs)
      if (verdict.allowed) {
        this.#receive(lease, grains, sentMs, verdict.resetMs, nowMs)
        // The rest was taken. Asking for each unit that flows in would be a request a message.
        if (paceMs > 0 && verdict.remaining === 0) lease.refuse(1, paceMs, nowMs)
        return
      }
      this.figures.refused++
      const isRefill = !leaseTerms.windowed
      const waitMs = verdict.retryAfterMs
      // What is needed fits sooner than what was asked for, by the time the difference takes to flow in.
      const soonerMs = isRefill ? ((grains - needGrains) * limit.periodMs) / limit.countGrains : 0
      if (grains > needGrains) {
        paceMs = isRefill ? paceOf(limit, waitMs) : waitMs
        lease.askAfterMs = nowMs + Math.min(waitMs, this.#measure.ttlMs)
      }
      if (needGrains === 0) return
      const isTooMuch = grains <= needGrains || needGrains >= (verdict.remaining + 1) * limit.scale
      if (isTooMuch) {
        const needMs = Math.max(1, Math.ceil(waitMs - soonerMs))
        lease.refuse(needGrains + lease.usable(nowMs), Math.max(needMs, paceMs), nowMs)
        return
      }
      grains = Math.max(needGrains, Math.min(verdict.remaining * limit.scale, Math.floor(grains / 2)))
    }
  }

  async #request(lease: Lease, grains: number): Promise<Verdict> {
    const { limit } = lease.rule
    this.figures.asked++
    try {
      const charge = { limit, key: lease.key, cost: grains / limit.scale }
      const [verdict] = await this.#store.decide([charge], { commit: true })
      if (verdict === undefined)
        throw new StoreError(`the ${this.#store.name} store gave no verdict on a charge`)
      return verdict
    } catch (error) {
      this.figures.failed++
      throw error
    }
  }

  #receive(lease: Lease, grains: number, sentMs: number, resetMs: number, nowMs: number): void {
    const { limit, leaseTerms } = lease.rule
    const { ttlMs } = this.#measure
    this.figures.grantedUnits += grains / limit.scale
    const ended = lease.expire(nowMs)
    if (ended > 0) this.giveBack(lease, ended, nowMs)
    // Counted from when it was asked for: the store took the units no earlier.
    lease.endsAtMs = leaseTerms.windowed ? sentMs + resetMs : Infinity
    if (lease.gone || nowMs - sentMs >= ttlMs) this.giveBack(lease, grains, nowMs)
    else lease.add(grains, Math.min(sentMs + ttlMs, lease.endsAtMs))
    if (nowMs - sentMs >= ttlMs) {
      throw new StoreError(
        `the ${this.#store.name} store took ${nowMs - sentMs} ms to lend, longer than a lease lasts: raise ttlMs`,
      )
    }
    lease.lowGrains = lease.grains >= LEAST_RENEWED_GRAINS ? Math.floor(lease.grains / 2) : 0
  }

  /** How many grains to ask for now. */
  #size(lease: Lease, needGrains: number): number {
    const nowMs = this.#clock.now()
    const { limit, leaseTerms } = lease.rule
    const wanted = sizeLease(
      {
        limit,
        leaseTerms,
        usedGrains: lease.usedGrains,
        sinceMs: nowMs - lease.askedAtMs,
        sharedGrains: lease.sharedGrains,
        heardMs: nowMs - lease.heardAtMs,
      },
      this.#measure.nodes,
    )
    lease.usedGrains = 0
    lease.askedAtMs = nowMs
    const target = Math.max(wanted, Math.min(lease.waitingGrains, leaseTerms.mostGrains))
    return Math.max(1, needGrains, target - lease.usable(nowMs))
  }
}

/** How long a node leaves a spent bucket alone; by then it is at most a quarter full again, so that nothing is lost. */
function paceOf(limit: Limit, waitMs: number): number {
  const quarterMs = Math.floor(((limit.capacityGrains / limit.countGrains) * limit.periodMs) / 4)
  return Math.min(Math.max(waitMs, Math.min(SHORTEST_PACE_MS, quarterMs)), LONGEST_PACE_MS)
}
