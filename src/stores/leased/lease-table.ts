import type { Limit } from '../../algorithms/limit.ts'
import type { Clock } from '../../core/clock.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Selector } from '../store.ts'
import { Lease, type LeasedRule } from './lease.ts'
import { leaseTermsOf, type Measure } from './lease-terms.ts'

/** Deadlines are kept in slots of an eighth of the ttl; twice as many slots as a ttl needs. */
const SLOTS_PER_TTL = 8
const SLOTS = 16

/** What becomes of units whose lease ends. */
type GiveBack = (lease: Lease, grains: number, nowMs: number) => void

/**
 * All leases of a node: by rule and key, and by when they end. Keeps {@link BOUNDS.leases} at the most: a new one
 * takes the place of the one that would end first. Nothing in it is idle for longer than a ttl and an eighth.
 */
export class LeaseTable {
  size = 0
  evictions = 0
  readonly #clock: Clock
  readonly #measure: Measure
  readonly #mostLeases: number
  readonly #giveBack: GiveBack
  readonly #rules = new Map<string, LeasedRule>()
  readonly #slots = Array.from({ length: SLOTS }, () => new Set<Lease>())
  readonly #tickMs: number
  #tick: number
  #cancelTick: (() => void) | undefined
  #closed = false

  constructor(clock: Clock, measure: Measure, mostLeases: number, giveBack: GiveBack) {
    this.#clock = clock
    this.#measure = measure
    this.#mostLeases = mostLeases
    this.#giveBack = giveBack
    this.#tickMs = Math.ceil(measure.ttlMs / SLOTS_PER_TTL)
    this.#tick = this.#tickOf(clock.now())
  }

  /** The lease of a key, if there is one. */
  find(limit: Limit, key: string): Lease | undefined {
    const rule = this.#rules.get(limit.name)
    if (rule === undefined) return undefined
    if (rule.limit !== limit && !this.#follow(rule, limit)) return undefined
    return rule.leases.get(key)
  }

  /** The lease of a key, made if need be; undefined where nothing may be kept of it. */
  open(limit: Limit, key: string, nowMs: number): Lease | undefined {
    const found = this.find(limit, key)
    if (found !== undefined) return found
    let rule = this.#rules.get(limit.name)
    const leaseTerms = rule?.leaseTerms ?? leaseTermsOf(limit, this.#measure)
    if (leaseTerms === undefined || this.#closed) return undefined
    if (this.size >= this.#mostLeases && !this.#evict(nowMs)) return undefined
    // Asked again: the one evicted may have been the last of this rule.
    rule = this.#rules.get(limit.name)
    if (rule === undefined) {
      rule = { limit, leaseTerms, leases: new Map() }
      this.#rules.set(limit.name, rule)
    }
    const lease = new Lease(rule, key, this.#measure.ttlMs, nowMs)
    rule.leases.set(key, lease)
    this.size++
    this.#await(lease, nowMs)
    this.#cancelTick ??= this.#clock.after(this.#tickMs, () => this.#turn())
    return lease
  }

  /** The limit a rule has now, where one that has leases was changed. */
  limitOf(lease: Lease): Limit {
    return this.#rules.get(lease.rule.limit.name)?.limit ?? lease.rule.limit
  }

  /** Drops leases; their units are not given back. */
  forget(selector: Selector): void {
    for (const lease of [...this.leases()]) {
      if (selector.rule !== undefined && selector.rule !== lease.rule.limit.name) continue
      if (selector.key !== undefined && selector.key !== lease.key) continue
      lease.grains = 0
      this.#remove(lease)
    }
  }

  /** Ends all leases, gives their units back, and opens no more. */
  close(): void {
    this.#closed = true
    this.#cancelTick?.()
    for (const lease of [...this.leases()]) this.#end(lease, this.#clock.now())
  }

  *leases(): IterableIterator<Lease> {
    for (const slot of this.#slots) yield* slot
  }

  /** True where a limit has the numbers it had; else what was lent under the old ones ends when it is due. */
  #follow(rule: LeasedRule, limit: Limit): boolean {
    if (haveSameNumbers(rule.limit, limit)) {
      rule.limit = limit
      return true
    }
    this.#rules.delete(limit.name)
    const leaseTerms = leaseTermsOf(limit, this.#measure)
    // Known from now on, so that what was lent comes back under the new numbers.
    if (leaseTerms !== undefined) this.#rules.set(limit.name, { limit, leaseTerms, leases: new Map() })
    return false
  }

  #turn(): void {
    const nowMs = this.#clock.now()
    const last = this.#tickOf(nowMs)
    // A clock that was set back, or far ahead, makes for one round through all slots.
    if (last < this.#tick || last - this.#tick > SLOTS) this.#tick = last - SLOTS
    let left: number = MAX_SIZES.sweepSlice
    while (this.#tick < last && left > 0) {
      const slot = this.#slots[(this.#tick + 1 + SLOTS) % SLOTS]!
      for (const lease of slot) {
        // Of a later round; one from before the clock was set back is looked at all the same.
        if (lease.dueTick > last && lease.dueTick <= last + SLOTS) continue
        if (left-- === 0) break
        this.#visit(lease, nowMs)
      }
      if (left >= 0) this.#tick++
    }
    const pauseMs = left > 0 ? this.#tickMs : 1
    this.#cancelTick = this.size > 0 ? this.#clock.after(pauseMs, () => this.#turn()) : undefined
  }

  #visit(lease: Lease, nowMs: number): void {
    this.#giveBackVoid(lease, nowMs)
    const idle = lease.grains === 0 && lease.pending === undefined && lease.waitingGrains === 0
    if (idle && (lease.deadlineMs <= nowMs || lease.deadlineMs > nowMs + lease.ttlMs)) this.#remove(lease)
    else this.#await(lease, nowMs)
  }

  #giveBackVoid(lease: Lease, nowMs: number): void {
    const gone = lease.expire(nowMs)
    if (gone > 0) this.#giveBack(lease, gone, nowMs)
  }

  #await(lease: Lease, nowMs: number): void {
    this.#slotOf(lease).delete(lease)
    const dueMs = Math.min(Math.max(lease.deadlineMs, nowMs), nowMs + lease.ttlMs)
    lease.dueTick = this.#tickOf(dueMs) + 1
    this.#slotOf(lease).add(lease)
  }

  #slotOf(lease: Lease): Set<Lease> {
    return this.#slots[lease.dueTick % SLOTS]!
  }

  #tickOf(ms: number): number {
    return Math.floor(ms / this.#tickMs)
  }

  /** Ends the lease due first that nobody waits for; false where there is none among some. */
  #evict(nowMs: number): boolean {
    let left: number = MAX_SIZES.evictionProbe
    for (let ahead = 1; ahead <= SLOTS; ahead++) {
      for (const lease of this.#slots[(this.#tick + ahead) % SLOTS]!) {
        if (left-- === 0) return false
        if (lease.pending !== undefined || lease.waitingGrains > 0) continue
        this.#end(lease, nowMs)
        this.evictions++
        return true
      }
    }
    return false
  }

  #end(lease: Lease, nowMs: number): void {
    const { grains } = lease
    lease.grains = 0
    this.#remove(lease)
    if (grains > 0) this.#giveBack(lease, grains, nowMs)
  }

  #remove(lease: Lease): void {
    const { rule } = lease
    lease.gone = true
    this.#slotOf(lease).delete(lease)
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
