import { type Limit, toGrains } from '../../algorithms/limit-types.ts'
import { type Clock, startAwaitedTimer, systemClock } from '../../core/clock.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { MaybePromise } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import type { ShareableBackend } from '../backend-connection.ts'
import type { SharedEntries } from '../shared-entries.ts'
import type { Charge, StateSelector, Store, StoreEvent, StoreHealth, Verdict } from '../store.ts'
import type { HeldLeases } from './held-leases.ts'
import type { Lease } from './lease.ts'
import { LeaseClient } from './lease-client.ts'
import { LeaseTable } from './lease-table.ts'
import { type LeaseOptions, type LeaseSettings, leaseTermsOf, parseLeaseOptions } from './lease-terms.ts'
import { estimateVerdict, peek } from './peek-verdicts.ts'

export interface LeasedStoreOptions extends LeaseOptions {
  /** Store shared by all nodes; closed with this one. */
  readonly store: Store
  readonly clock?: Clock | undefined
  /** Maximum number of keys with a lease. Default: {@link MAX_SIZES.leases}. */
  readonly maxLeases?: number | undefined
}

/** Health of the shared store, and lease statistics of this node since its start. */
export interface LeasedHealth extends StoreHealth {
  readonly leases: {
    readonly keys: number
    readonly evictions: number
    /** Requests for a lease, the refused ones among them, and the failed calls. */
    readonly asked: number
    readonly refused: number
    readonly failed: number
    readonly grantedUnits: number
    readonly returnedUnits: number
  }
}

const OPTIONS: KnownOptions<LeasedStoreOptions> = {
  units: true,
  ttlMs: true,
  spanMs: true,
  nodes: true,
  tolerance: true,
  store: true,
  clock: true,
  maxLeases: true,
}

type DecideOptions = Parameters<Store['decide']>[1]

/**
 * Shared store with the speed of a local one: takes units of a key in advance and decides on them locally and
 * synchronously. Returns a promise only if the shared store must be asked. Over all nodes and any span W it admits at
 * most burst + rate × W + min(nodes × lease, burst + rate × ttl); see docs/leases.md.
 */
export class LeasedStore implements Store, HeldLeases {
  readonly name: string
  readonly algorithms: ReadonlySet<string>
  readonly #store: Store
  readonly #clock: Clock
  readonly #settings: LeaseSettings
  readonly #leaseTable: LeaseTable
  readonly #leaseClient: LeaseClient

  /** Throws PolicyError for an invalid option. */
  constructor(options: LeasedStoreOptions) {
    checkOptionNames(options, OPTIONS)
    this.#store = options.store
    this.#clock = options.clock ?? systemClock
    this.#settings = parseLeaseOptions(options)
    this.name = `leased ${options.store.name}`
    this.algorithms = options.store.algorithms
    const returnUnits = (lease: Lease, grains: number, nowMs: number): void =>
      this.#leaseClient.returnUnits(lease, grains, nowMs)
    this.#leaseTable = new LeaseTable(
      this.#clock,
      this.#settings,
      options.maxLeases ?? MAX_SIZES.leases,
      returnUnits,
    )
    this.#leaseClient = new LeaseClient(this.#store, this.#clock, this.#settings, lease =>
      this.#leaseTable.limitOf(lease),
    )
  }

  get sharedEntries(): SharedEntries | undefined {
    return this.#store.sharedEntries
  }

  get backend(): ShareableBackend | undefined {
    return this.#store.backend
  }

  get heldLeases(): HeldLeases {
    return this
  }

  leaseAt(slot: number, generation: number): Lease | undefined {
    return this.#leaseTable.leaseAt(slot, generation)
  }

  findLease(limit: Limit, key: string): Lease | undefined {
    return this.#leaseTable.find(limit, key)
  }

  spendLease(lease: Lease, grains: number, nowMs: number): void {
    this.#leaseClient.spend(lease, grains, nowMs)
  }

  adopt(limits: readonly Limit[], nowMs: number): void {
    this.#store.adopt?.(limits, nowMs)
  }

  refuses(limit: Limit): string | undefined {
    return this.#store.refuses?.(limit)
  }

  decide(charges: readonly Charge[], options: DecideOptions): MaybePromise<readonly Verdict[]> {
    const nowMs = options.nowMs ?? this.#clock.now()
    if (!options.commit) return peek(charges, options, nowMs, this.#leaseTable, this.#store)
    const verdicts: (Verdict | undefined)[] = []
    let isAsking = false
    let isDenied = false
    for (let index = 0; index < charges.length; index++) {
      const charge = charges[index]!
      const verdict = this.#decideLocally(charge, nowMs)
      verdicts.push(verdict)
      if (verdict === undefined) isAsking = true
      else if (!verdict.allowed && charge.soft !== true) isDenied = true
    }
    if (!isAsking && !isDenied) return verdicts as Verdict[]
    if (!isDenied) return this.#decideRemotely(charges, verdicts, options)
    // One hard refusal decides. Charges not decided locally get an estimated verdict.
    this.#restoreUnits(charges, verdicts, nowMs)
    return charges.map((charge, index) => verdicts[index] ?? estimateVerdict(charge, nowMs, this.#leaseTable))
  }

  refund(charges: readonly Charge[]): MaybePromise<void> {
    const nowMs = this.#clock.now()
    const rest: Charge[] = []
    for (const charge of charges) {
      const cost = this.#refundLocally(charge, nowMs)
      if (cost > 0) rest.push({ ...charge, cost })
    }
    return rest.length > 0 ? this.#store.refund(rest) : undefined
  }

  /** Forgets here and in the shared store; other nodes keep their leases until those expire. */
  forget(selector: StateSelector): MaybePromise<number> {
    this.#leaseTable.forget(selector)
    return this.#store.forget(selector)
  }

  async health(): Promise<LeasedHealth> {
    const { size: keys, evictions } = this.#leaseTable
    const leases = { keys, evictions, ...this.#leaseClient.stats }
    return { ...(await this.#store.health()), leases }
  }

  watch(listener: (event: StoreEvent) => void): () => void {
    return this.#store.watch?.(listener) ?? (() => {})
  }

  /** Returns all leases, waits for that at most one ttl, and closes the shared store. */
  async close(): Promise<void> {
    const pendingRequests = [...this.#leaseTable.leases()].map(lease => lease.pending)
    this.#leaseTable.close()
    this.#leaseClient.stopRenewals()
    const settled = Promise.allSettled(pendingRequests).then(() => this.#leaseClient.waitForReturns())
    await new Promise<void>(resolve => {
      const cancel = startAwaitedTimer(this.#clock, this.#settings.ttlMs, resolve)
      settled.then(() => {
        cancel()
        resolve()
      })
    })
    await this.#store.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Decides from local leases and refusals; undefined if the shared store must be asked. */
  #decideLocally(charge: Charge, nowMs: number): Verdict | undefined {
    const lease = this.#leaseTable.find(charge.limit, charge.key)
    if (lease === undefined) return undefined
    return this.#spend(lease, toGrains(charge.cost, charge.limit), nowMs)
  }

  #spend(lease: Lease, grains: number, nowMs: number): Verdict | undefined {
    const usable = lease.usable(nowMs)
    if (usable >= grains && usable > 0) {
      this.#leaseClient.spend(lease, grains, nowMs)
      return lease.allow(lease.grains, nowMs)
    }
    return lease.isRefused(grains, nowMs) ? lease.deny(grains, nowMs) : undefined
  }

  /** Asks the shared store: leases first, then all charges that are not leased, in one step. */
  async #decideRemotely(
    charges: readonly Charge[],
    held: readonly (Verdict | undefined)[],
    options: DecideOptions,
  ): Promise<readonly Verdict[]> {
    const verdicts = [...held]
    try {
      const missing = charges.map(async (charge, index) => {
        verdicts[index] ??= await this.#requestAndSpend(charge)
      })
      // Waits for all, because granted units have to be returned if one of the requests fails.
      const failed = (await Promise.allSettled(missing)).find(({ status }) => status === 'rejected')
      if (failed?.status === 'rejected') throw failed.reason
      const direct = charges.filter((_, index) => verdicts[index] === undefined)
      const commit = !charges.some(
        (charge, index) => verdicts[index]?.allowed === false && charge.soft !== true,
      )
      const answers = direct.length > 0 ? await this.#store.decide(direct, { ...options, commit }) : []
      const isDenied = direct.some((charge, index) => !answers[index]!.allowed && charge.soft !== true)
      if (!commit || isDenied) this.#restoreUnits(charges, verdicts, this.#clock.now())
      direct.forEach((charge, index) => {
        this.#cacheRefusal(charge, answers[index]!)
      })
      return charges.map((charge, index) => verdicts[index] ?? answers[direct.indexOf(charge)]!)
    } catch (error) {
      this.#restoreUnits(charges, verdicts, this.#clock.now())
      throw error
    }
  }

  /** Requests units for a lease and spends them; undefined if this charge cannot be leased. */
  async #requestAndSpend(charge: Charge): Promise<Verdict | undefined> {
    const grains = toGrains(charge.cost, charge.limit)
    const maxGrains = leaseTermsOf(charge.limit, this.#settings)?.maxGrains ?? 0
    if (grains === 0 || grains > maxGrains) return undefined
    let lease: Lease | undefined
    for (;;) {
      const nowMs = this.#clock.now()
      if (lease === undefined || lease.isClosed)
        lease = this.#leaseTable.open(charge.limit, charge.key, nowMs)
      if (lease === undefined || nowMs < lease.directUntilMs) return undefined
      const verdict = this.#spend(lease, grains, nowMs)
      if (verdict !== undefined) return verdict
      lease.waitingGrains += grains
      try {
        await this.#leaseClient.requestLease(lease, grains - lease.usable(nowMs))
      } finally {
        lease.waitingGrains -= grains
      }
    }
  }

  /** Caches a refusal by the shared store, for limits that support local refusals. */
  #cacheRefusal(charge: Charge, verdict: Verdict): void {
    if (verdict.allowed || verdict.fallback !== undefined) return
    const nowMs = this.#clock.now()
    const lease = this.#leaseTable.open(charge.limit, charge.key, nowMs)
    lease?.recordVerdict(verdict, nowMs)
    lease?.recordRefusal(toGrains(charge.cost, charge.limit), verdict.retryAfterMs, nowMs)
  }

  /** Restores local units spent by a decision that was then denied. */
  #restoreUnits(charges: readonly Charge[], verdicts: readonly (Verdict | undefined)[], nowMs: number): void {
    charges.forEach((charge, index) => {
      if (!verdicts[index]?.allowed) return
      const lease = this.#leaseTable.find(charge.limit, charge.key)
      if (lease === undefined) return
      const grains = toGrains(charge.cost, charge.limit)
      const rest = lease.restore(grains, nowMs)
      if (rest > 0) this.#leaseClient.returnUnits(lease, rest, nowMs)
    })
  }

  /** Refunds locally; returns the units that found no room. */
  #refundLocally(charge: Charge, nowMs: number): number {
    const lease = this.#leaseTable.find(charge.limit, charge.key)
    if (lease === undefined) return charge.cost
    return lease.restore(toGrains(charge.cost, charge.limit), nowMs) / charge.limit.scale
  }
}
