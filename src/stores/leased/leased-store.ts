import { type Limit, toGrains } from '../../algorithms/limit.ts'
import { afterAwaited, type Clock, systemClock } from '../../core/clock.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { MaybePromise } from '../../core/message.ts'
import { checkOptionNames, type OptionNames } from '../../core/option-names.ts'
import type { Backend } from '../backend.ts'
import type { SharedEntries } from '../shared-entries.ts'
import type { Charge, Selector, Store, StoreEvent, StoreHealth, Verdict } from '../store.ts'
import { guess, peek } from './estimate.ts'
import type { Lease } from './lease.ts'
import { LeaseClient } from './lease-client.ts'
import { LeaseTable } from './lease-table.ts'
import { type LeaseOptions, leaseTermsOf, type Measure, measureOf } from './lease-terms.ts'

export interface LeasedStoreOptions extends LeaseOptions {
  /** The store all nodes share; closed with this one. */
  readonly store: Store
  readonly clock?: Clock | undefined
  /** Most keys with a lease; default {@link BOUNDS.leases}. */
  readonly maxLeases?: number | undefined
}

/** The shared store's health, and what this node did with its leases since it began. */
export interface LeasedHealth extends StoreHealth {
  readonly leases: {
    readonly keys: number
    readonly evictions: number
    /** Calls for a lease, those of them that were refused, and calls that failed. */
    readonly asked: number
    readonly refused: number
    readonly failed: number
    readonly grantedUnits: number
    readonly returnedUnits: number
  }
}

const OPTIONS: OptionNames<LeasedStoreOptions> = {
  units: true,
  ttlMs: true,
  nodes: true,
  tolerance: true,
  store: true,
  clock: true,
  maxLeases: true,
}

type DecideOptions = Parameters<Store['decide']>[1]

/**
 * A shared store at the speed of a local one: takes units of a key in advance and decides on them by itself, at
 * once. A promise is returned only where the shared store must be asked. Over all nodes and any span W no more passes
 * than burst + rate × W + min(nodes × lease, burst + rate × ttl): docs/leases.md derives it.
 */
export class LeasedStore implements Store {
  readonly name: string
  readonly algorithms: ReadonlySet<string>
  readonly #store: Store
  readonly #clock: Clock
  readonly #measure: Measure
  readonly #leaseTable: LeaseTable
  readonly #leaseClient: LeaseClient

  /** Throws PolicyError where an option is no number it could be. */
  constructor(options: LeasedStoreOptions) {
    checkOptionNames(options, OPTIONS)
    this.#store = options.store
    this.#clock = options.clock ?? systemClock
    this.#measure = measureOf(options)
    this.name = `leased ${options.store.name}`
    this.algorithms = options.store.algorithms
    const giveBack = (lease: Lease, grains: number, nowMs: number): void =>
      this.#leaseClient.giveBack(lease, grains, nowMs)
    this.#leaseTable = new LeaseTable(
      this.#clock,
      this.#measure,
      options.maxLeases ?? MAX_SIZES.leases,
      giveBack,
    )
    this.#leaseClient = new LeaseClient(this.#store, this.#clock, this.#measure, lease =>
      this.#leaseTable.limitOf(lease),
    )
  }

  get sharedEntries(): SharedEntries | undefined {
    return this.#store.sharedEntries
  }

  get backend(): Backend | undefined {
    return this.#store.backend
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
    let asking = false
    let denied = false
    for (let index = 0; index < charges.length; index++) {
      const charge = charges[index]!
      const verdict = this.#decideHere(charge, nowMs)
      verdicts.push(verdict)
      if (verdict === undefined) asking = true
      else if (!verdict.allowed && charge.soft !== true) denied = true
    }
    if (!asking && !denied) return verdicts as Verdict[]
    if (!denied) return this.#decideThere(charges, verdicts, options)
    // One hard refusal settles it. Whom it would have to ask is told of as far as it is known here.
    this.#takeBack(charges, verdicts, nowMs)
    return charges.map((charge, index) => verdicts[index] ?? guess(charge, nowMs, this.#leaseTable))
  }

  refund(charges: readonly Charge[]): MaybePromise<void> {
    const nowMs = this.#clock.now()
    const rest: Charge[] = []
    for (const charge of charges) {
      const cost = this.#refundHere(charge, nowMs)
      if (cost > 0) rest.push({ ...charge, cost })
    }
    return rest.length > 0 ? this.#store.refund(rest) : undefined
  }

  /** Forgets here and in the shared store; other nodes keep what they hold until it is void. */
  forget(selector: Selector): MaybePromise<number> {
    this.#leaseTable.forget(selector)
    return this.#store.forget(selector)
  }

  async health(): Promise<LeasedHealth> {
    const { size: keys, evictions } = this.#leaseTable
    const leases = { keys, evictions, ...this.#leaseClient.figures }
    return { ...(await this.#store.health()), leases }
  }

  watch(listener: (event: StoreEvent) => void): () => void {
    return this.#store.watch?.(listener) ?? (() => {})
  }

  /** Gives back what it holds, waits for that no longer than a lease lasts, and closes the shared store. */
  async close(): Promise<void> {
    const underway = [...this.#leaseTable.leases()].map(lease => lease.pending)
    this.#leaseTable.close()
    const settled = Promise.allSettled(underway).then(() => this.#leaseClient.settle())
    await new Promise<void>(resolve => {
      const cancel = afterAwaited(this.#clock, this.#measure.ttlMs, resolve)
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

  /** Decides by what is held and known here: undefined where the shared store must be asked. */
  #decideHere(charge: Charge, nowMs: number): Verdict | undefined {
    const lease = this.#leaseTable.find(charge.limit, charge.key)
    if (lease === undefined) return undefined
    return this.#spend(lease, toGrains(charge.cost, charge.limit), nowMs)
  }

  #spend(lease: Lease, grains: number, nowMs: number): Verdict | undefined {
    const usable = lease.usable(nowMs)
    if (usable >= grains && usable > 0) {
      if (usable < lease.grains) this.#leaseClient.giveBack(lease, lease.expire(nowMs), nowMs)
      lease.spend(grains)
      if (lease.grains < lease.lowGrains) this.#leaseClient.renew(lease, nowMs)
      return lease.allow(lease.grains, nowMs)
    }
    return lease.refuses(grains, nowMs) ? lease.deny(grains, nowMs) : undefined
  }

  /** Asks the shared store for what is missing: leases first, then all that is not lent in one step. */
  async #decideThere(
    charges: readonly Charge[],
    held: readonly (Verdict | undefined)[],
    options: DecideOptions,
  ): Promise<readonly Verdict[]> {
    const verdicts = [...held]
    try {
      const missing = charges.map(async (charge, index) => {
        verdicts[index] ??= await this.#obtain(charge)
      })
      // All of them: what one of them was granted is to be taken back when another fails.
      const failed = (await Promise.allSettled(missing)).find(({ status }) => status === 'rejected')
      if (failed?.status === 'rejected') throw failed.reason
      const direct = charges.filter((_, index) => verdicts[index] === undefined)
      const commit = !charges.some(
        (charge, index) => verdicts[index]?.allowed === false && charge.soft !== true,
      )
      const answers = direct.length > 0 ? await this.#store.decide(direct, { ...options, commit }) : []
      const denied = direct.some((charge, index) => !answers[index]!.allowed && charge.soft !== true)
      if (!commit || denied) this.#takeBack(charges, verdicts, this.#clock.now())
      direct.forEach((charge, index) => {
        this.#learn(charge, answers[index]!)
      })
      return charges.map((charge, index) => verdicts[index] ?? answers[direct.indexOf(charge)]!)
    } catch (error) {
      this.#takeBack(charges, verdicts, this.#clock.now())
      throw error
    }
  }

  /** Spends units of a lease that has to be asked for; undefined where nothing is lent of it. */
  async #obtain(charge: Charge): Promise<Verdict | undefined> {
    const grains = toGrains(charge.cost, charge.limit)
    const mostGrains = leaseTermsOf(charge.limit, this.#measure)?.mostGrains ?? 0
    if (grains === 0 || grains > mostGrains) return undefined
    let lease: Lease | undefined
    for (;;) {
      const nowMs = this.#clock.now()
      if (lease === undefined || lease.gone) lease = this.#leaseTable.open(charge.limit, charge.key, nowMs)
      if (lease === undefined || nowMs < lease.directUntilMs) return undefined
      const verdict = this.#spend(lease, grains, nowMs)
      if (verdict !== undefined) return verdict
      lease.waitingGrains += grains
      try {
        await this.#leaseClient.ask(lease, grains - lease.usable(nowMs))
      } finally {
        lease.waitingGrains -= grains
      }
    }
  }

  /** Remembers a refusal of the shared store, of limits that can be refused by memory alone. */
  #learn(charge: Charge, verdict: Verdict): void {
    if (verdict.allowed || verdict.fallback !== undefined) return
    const nowMs = this.#clock.now()
    const lease = this.#leaseTable.open(charge.limit, charge.key, nowMs)
    lease?.hear(verdict, nowMs)
    lease?.refuse(toGrains(charge.cost, charge.limit), verdict.retryAfterMs, nowMs)
  }

  /** Gives back locally what a decision spent that did not come to be. */
  #takeBack(charges: readonly Charge[], verdicts: readonly (Verdict | undefined)[], nowMs: number): void {
    charges.forEach((charge, index) => {
      if (!verdicts[index]?.allowed) return
      const lease = this.#leaseTable.find(charge.limit, charge.key)
      if (lease === undefined) return
      const grains = toGrains(charge.cost, charge.limit)
      const rest = lease.takeBack(grains, nowMs)
      if (rest > 0) this.#leaseClient.giveBack(lease, rest, nowMs)
    })
  }

  /** Returns the units for which there was no room. */
  #refundHere(charge: Charge, nowMs: number): number {
    const lease = this.#leaseTable.find(charge.limit, charge.key)
    if (lease === undefined) return charge.cost
    return lease.takeBack(toGrains(charge.cost, charge.limit), nowMs) / charge.limit.scale
  }
}
