import type { Limit, Verdict } from '../../algorithms/limit.ts'
import type { KeyedCharge } from './script-args.ts'

interface Denial {
  readonly limit: Limit
  readonly grains: number
  readonly atMs: number
  readonly untilMs: number
  readonly wholeAtMs: number
  readonly remaining: number
}

/**
 * Cache of active refusals: the same or a higher cost is refused locally. A lower cost is not, because it may fit.
 * Bounded; the oldest entry is dropped first.
 */
export class DenialCache {
  /** Messages refused locally. */
  refused = 0
  readonly #most: number
  readonly #known = new Map<string, Denial>()

  constructor(most: number) {
    this.#most = most
  }

  get size(): number {
    return this.#known.size
  }

  /** Returns verdicts without asking Redis if a charge that is not soft is known to be refused. */
  answer(charges: readonly KeyedCharge[], nowMs: number): readonly Verdict[] | undefined {
    if (this.#known.size === 0) return undefined
    let denied = false
    const verdicts = charges.map(charge => {
      const denial = this.#find(charge, nowMs)
      if (denial === undefined) return plainlyAllowed(charge.limit)
      if (!charge.soft) denied = true
      return verdictOf(denial, charge, nowMs)
    })
    if (!denied) return undefined
    this.refused++
    return verdicts
  }

  /** Caches refusals of a message that was sent at `sentMs`. */
  note(charges: readonly KeyedCharge[], verdicts: readonly Verdict[], sentMs: number): void {
    if (this.#most === 0) return
    charges.forEach(({ stateKey, limit, grains, soft }, index) => {
      const { allowed, retryAfterMs, resetMs, remaining } = verdicts[index]!
      // A cost that can never pass says nothing about other costs.
      if (allowed || soft || retryAfterMs === Infinity) return
      this.#known.delete(stateKey)
      const untilMs = sentMs + retryAfterMs
      if (this.#known.size >= this.#most) this.#known.delete(this.#known.keys().next().value!)
      const wholeAtMs = sentMs + resetMs
      this.#known.set(stateKey, { limit, grains, atMs: sentMs, untilMs, wholeAtMs, remaining })
    })
  }

  forget(stateKey: string): void {
    this.#known.delete(stateKey)
  }

  clear(): void {
    this.#known.clear()
  }

  #find({ stateKey, limit, grains }: KeyedCharge, nowMs: number): Denial | undefined {
    const denial = this.#known.get(stateKey)
    if (denial === undefined) return undefined
    // A clock step backwards must not extend a refusal.
    if (denial.limit !== limit || nowMs >= denial.untilMs || nowMs < denial.atMs) {
      this.#known.delete(stateKey)
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
    resetMs: Math.max(0, denial.wholeAtMs - nowMs),
  }
}

function plainlyAllowed(limit: Limit): Verdict {
  return { allowed: true, remaining: limit.capacity, retryAfterMs: 0, resetMs: 0 }
}
