import type { Limit, Verdict } from '../../algorithms/limit-types.ts'
import type { KeyedCharge } from './script-args.ts'

interface Denial {
  readonly limit: Limit
  readonly grains: number
  readonly atMs: number
  readonly untilMs: number
  readonly fullAtMs: number
  readonly remaining: number
}

/**
 * Cache of active refusals: the same or a higher cost is refused locally. A lower cost is not, because it may fit.
 * Bounded; the oldest entry is dropped first.
 */
export class DenialCache {
  /** Messages refused locally. */
  refused = 0
  readonly #maxEntries: number
  readonly #denials = new Map<string, Denial>()

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries
  }

  get size(): number {
    return this.#denials.size
  }

  /** Returns verdicts without asking Redis if a charge that is not soft is known to be refused. */
  answer(charges: readonly KeyedCharge[], nowMs: number): readonly Verdict[] | undefined {
    if (this.#denials.size === 0) return undefined
    let denied = false
    const verdicts = charges.map(charge => {
      const denial = this.#find(charge, nowMs)
      if (denial === undefined) return fullVerdict(charge.limit)
      if (!charge.soft) denied = true
      return verdictOf(denial, charge, nowMs)
    })
    if (!denied) return undefined
    this.refused++
    return verdicts
  }

  /** Caches refusals of a message that was sent at `sentMs`. */
  recordRefusals(charges: readonly KeyedCharge[], verdicts: readonly Verdict[], sentMs: number): void {
    if (this.#maxEntries === 0) return
    charges.forEach(({ stateKey, limit, grains, soft }, index) => {
      const { allowed, retryAfterMs, resetMs, remaining } = verdicts[index]!
      // A cost that can never pass says nothing about other costs.
      if (allowed || soft || retryAfterMs === Infinity) return
      this.#denials.delete(stateKey)
      const untilMs = sentMs + retryAfterMs
      if (this.#denials.size >= this.#maxEntries) this.#denials.delete(this.#denials.keys().next().value!)
      const fullAtMs = sentMs + resetMs
      this.#denials.set(stateKey, { limit, grains, atMs: sentMs, untilMs, fullAtMs, remaining })
    })
  }

  forget(stateKey: string): void {
    this.#denials.delete(stateKey)
  }

  clear(): void {
    this.#denials.clear()
  }

  #find({ stateKey, limit, grains }: KeyedCharge, nowMs: number): Denial | undefined {
    const denial = this.#denials.get(stateKey)
    if (denial === undefined) return undefined
    // A clock step backwards must not extend a refusal.
    if (denial.limit !== limit || nowMs >= denial.untilMs || nowMs < denial.atMs) {
      this.#denials.delete(stateKey)
      return undefined
    }
    return grains >= denial.grains ? denial : undefined
  }
}

function verdictOf(denial: Denial, { limit, grains }: KeyedCharge, nowMs: number): Verdict {
  const isBounded = limit.algorithm !== 'leaky-bucket' && limit.custom === undefined
  return {
    allowed: false,
    remaining: denial.remaining,
    retryAfterMs: isBounded && grains > limit.capacityGrains ? Infinity : denial.untilMs - nowMs,
    resetMs: Math.max(0, denial.fullAtMs - nowMs),
  }
}

function fullVerdict(limit: Limit): Verdict {
  return { allowed: true, remaining: limit.capacity, retryAfterMs: 0, resetMs: 0 }
}
