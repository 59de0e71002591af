import type { Limit } from '../../algorithms/limit-types.ts'
import type { Clock } from '../../core/clock.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { StateSelector } from '../store.ts'
import { Lease, type LeasedRule, NO_LEASE_GENERATION } from './lease.ts'
import { type LeaseSettings, leaseTermsOf } from './lease-terms.ts'

/** Deadlines are grouped into slots of an eighth of the ttl; there are twice as many slots as a ttl needs. */
const SLOTS_PER_TTL = 8
const SLOTS = 16
/** Highest generation before they start again, so that they stay small integers. */
const LAST_GENERATION = 2 ** 31 - 1

/** Callback for unspent units of a lease that ends. */
type ReturnUnits = (lease: Lease, grains: number, nowMs: number) => void

/**
 * All leases of a node, by rule and key and by deadline. At most {@link MAX_SIZES.leases}; a new one replaces the one
 * that would end first. A lease is idle for at most 9/8 of the ttl.
 */
export class LeaseTable {
  size = 0
  evictions = 0
  readonly #clock: Clock
  readonly #settings: LeaseSettings
  readonly #maxLeases: number
  readonly #returnUnits: ReturnUnits
  readonly #rules = new Map<string, LeasedRule>()
  readonly #deadlines = Array.from({ length: SLOTS }, () => new Set<Lease>())
  readonly #bySlot: (Lease | undefined)[] = []
  readonly #freeSlots: number[] = []
  #lastGeneration = NO_LEASE_GENERATION
  readonly #tickMs: number
  #tick: number
  #cancelTick: (() => void) | undefined
  #closed = false

  constructor(clock: Clock, settings: LeaseSettings, maxLeases: number, returnUnits: ReturnUnits) {
    this.#clock = clock
    this.#settings = settings
    this.#maxLeases = maxLeases
    this.#returnUnits = returnUnits
    this.#tickMs = Math.ceil(settings.ttlMs / SLOTS_PER_TTL)
    this.#tick = this.#tickOf(clock.now())
  }

  /** Returns the lease of a key, or undefined. */
  find(limit: Limit, key: string): Lease | undefined {
    const rule = this.#rules.get(limit.name)
    if (rule === undefined) return undefined
    if (rule.limit !== limit && !this.#updateLimit(rule, limit)) return undefined
    return rule.leases.get(key)
  }

  /** Returns the lease of a slot; undefined if that lease has ended. */
  leaseAt(slot: number, generation: number): Lease | undefined {
    const lease = this.#bySlot[slot]
    return lease?.generation === generation ? lease : undefined
  }

  /** Returns the lease of a key, created if needed; undefined if no lease may be kept. */
  open(limit: Limit, key: string, nowMs: number): Lease | undefined {
    const found = this.find(limit, key)
    if (found !== undefined) return found
    let rule = this.#rules.get(limit.name)
    const leaseTerms = rule?.leaseTerms ?? leaseTermsOf(limit, this.#settings)
    if (leaseTerms === undefined || this.#closed) return undefined
    if (this.size >= this.#maxLeases && !this.#evict(nowMs)) return undefined
    // Looked up again, because the evicted lease may have been the last of this rule.
    rule = this.#rules.get(limit.name)
    if (rule === undefined) {
      rule = { limit, leaseTerms, leases: new Map() }
      this.#rules.set(limit.name, rule)
    }
    const lease = new Lease(rule, key, this.#settings.ttlMs, nowMs)
    rule.leases.set(key, lease)
    this.#assignSlot(lease)
    this.size++
    this.#schedule(lease, nowMs)
    this.#cancelTick ??= this.#clock.after(this.#tickMs, () => this.#onTick())
    return lease
  }

  /** Returns the current limit of the rule, which may have changed since the lease was made. */
  limitOf(lease: Lease): Limit {
    return this.#rules.get(lease.rule.limit.name)?.limit ?? lease.rule.limit
  }

  /** Drops leases without returning their units. */
  forget(selector: StateSelector): void {
    for (const lease of [...this.leases()]) {
      if (selector.rule !== undefined && selector.rule !== lease.rule.limit.name) continue
      if (selector.key !== undefined && selector.key !== lease.key) continue
      lease.grains = 0
      this.#remove(lease)
    }
  }

  /** Ends all leases, returns their units, and prevents new ones. */
  close(): void {
    this.#closed = true
    this.#cancelTick?.()
    for (const lease of [...this.leases()]) this.#closeLease(lease, this.#clock.now())
  }

  *leases(): IterableIterator<Lease> {
    for (const leases of this.#deadlines) yield* leases
  }

  /**
   * Returns true if a limit has the same numbers as before. Otherwise leases of the old numbers end at their
   * deadline.
   */
  #updateLimit(rule: LeasedRule, limit: Limit): boolean {
    if (haveSameNumbers(rule.limit, limit)) {
      rule.limit = limit
      return true
    }
    this.#rules.delete(limit.name)
    for (const lease of rule.leases.values()) lease.generation = NO_LEASE_GENERATION
    const leaseTerms = leaseTermsOf(limit, this.#settings)
    // Registered at once, so that units are returned under the new numbers.
    if (leaseTerms !== undefined) this.#rules.set(limit.name, { limit, leaseTerms, leases: new Map() })
    return false
  }

  #onTick(): void {
    const nowMs = this.#clock.now()
    const last = this.#tickOf(nowMs)
    // After a clock step backwards, or far ahead, all slots are processed once.
    if (last < this.#tick || last - this.#tick > SLOTS) this.#tick = last - SLOTS
    let left: number = MAX_SIZES.sweepSlice
    while (this.#tick < last && left > 0) {
      const slot = this.#deadlines[(this.#tick + 1 + SLOTS) % SLOTS]!
      for (const lease of slot) {
        // Belongs to a later round; leases from before a clock step backwards are processed anyway.
        if (lease.dueTick > last && lease.dueTick <= last + SLOTS) continue
        if (left-- === 0) break
        this.#processLease(lease, nowMs)
      }
      if (left >= 0) this.#tick++
    }
    const pauseMs = left > 0 ? this.#tickMs : 1
    this.#cancelTick = this.size > 0 ? this.#clock.after(pauseMs, () => this.#onTick()) : undefined
  }

  #processLease(lease: Lease, nowMs: number): void {
    this.#returnExpired(lease, nowMs)
    const idle = lease.grains === 0 && lease.pending === undefined && lease.waitingGrains === 0
    if (idle && (lease.deadlineMs <= nowMs || lease.deadlineMs > nowMs + lease.ttlMs)) this.#remove(lease)
    else this.#schedule(lease, nowMs)
  }

  #returnExpired(lease: Lease, nowMs: number): void {
    const expired = lease.expire(nowMs)
    if (expired > 0) this.#returnUnits(lease, expired, nowMs)
  }

  #schedule(lease: Lease, nowMs: number): void {
    this.#deadlineSlotOf(lease).delete(lease)
    const dueMs = Math.min(Math.max(lease.deadlineMs, nowMs), nowMs + lease.ttlMs)
    lease.dueTick = this.#tickOf(dueMs) + 1
    this.#deadlineSlotOf(lease).add(lease)
  }

  #assignSlot(lease: Lease): void {
    lease.slot = this.#freeSlots.pop() ?? this.#bySlot.length
    this.#lastGeneration = (this.#lastGeneration % LAST_GENERATION) + 1
    lease.generation = this.#lastGeneration
    this.#bySlot[lease.slot] = lease
  }

  #deadlineSlotOf(lease: Lease): Set<Lease> {
    return this.#deadlines[lease.dueTick % SLOTS]!
  }

  #tickOf(ms: number): number {
    return Math.floor(ms / this.#tickMs)
  }

  /**
   * Ends the lease with the nearest deadline that no message waits for; returns false if a probe of some finds none.
   */
  #evict(nowMs: number): boolean {
    let left: number = MAX_SIZES.evictionProbe
    for (let ahead = 1; ahead <= SLOTS; ahead++) {
      for (const lease of this.#deadlines[(this.#tick + ahead) % SLOTS]!) {
        if (left-- === 0) return false
        if (lease.pending !== undefined || lease.waitingGrains > 0) continue
        this.#closeLease(lease, nowMs)
        this.evictions++
        return true
      }
    }
    return false
  }

  #closeLease(lease: Lease, nowMs: number): void {
    const { grains } = lease
    lease.grains = 0
    this.#remove(lease)
    if (grains > 0) this.#returnUnits(lease, grains, nowMs)
  }

  #remove(lease: Lease): void {
    const { rule } = lease
    lease.isClosed = true
    lease.generation = NO_LEASE_GENERATION
    this.#bySlot[lease.slot] = undefined
    this.#freeSlots.push(lease.slot)
    this.#deadlineSlotOf(lease).delete(lease)
    this.size--
    rule.leases.delete(lease.key)
    if (rule.leases.size === 0 && this.#rules.get(rule.limit.name) === rule) {
      this.#rules.delete(rule.limit.name)
    }
  }
}

function haveSameNumbers(a: Limit, b: Limit): boolean {
  return (
    a.algorithm === b.algorithm &&
    a.countGrains === b.countGrains &&
    a.periodMs === b.periodMs &&
    a.capacityGrains === b.capacityGrains &&
    a.scale === b.scale &&
    a.calendar?.id === b.calendar?.id
  )
}
