import type { Limit } from '../../algorithms/limit-types.ts'
import type { Clock } from '../../core/clock.ts'
import { MemoryStore } from '../memory/memory-store.ts'
import type { Charge, Fallback, StateSelector, TableFullWarning, Verdict } from '../store.ts'
import { perNodeLimit } from './per-node-limit.ts'

export interface LocalFallbackOptions {
  /** Fallback of charges that name none. */
  readonly fallback: Fallback
  /** Number of nodes that share the store; `degraded` divides limits by it. Default: 2. */
  readonly nodes?: number | undefined
  readonly clock: Clock
}

/** Retry delay of a message that is denied without being counted. */
const RETRY_MS = 1_000

/**
 * Answers in place of a store, each charge by its own fallback. Counts in process memory with the bounds of any
 * memory store. Keeps its counters for the next outage, so that an unstable store does not grant a burst each time.
 */
export class FallbackStore {
  readonly #fallback: Fallback
  readonly #nodes: number
  readonly #memory: MemoryStore
  readonly #perNodeLimits = new WeakMap<Limit, Limit>()
  /** Charges answered here and their local charge, so that refunds go where the units were taken. */
  readonly #answered = new WeakMap<Charge, Charge | undefined>()

  constructor(options: LocalFallbackOptions) {
    this.#fallback = options.fallback
    this.#nodes = options.nodes ?? 2
    this.#memory = new MemoryStore({ clock: options.clock })
  }

  /** Takes all charges, or none if a charge that is not soft is denied, as the store would. */
  answer(
    charges: readonly Charge[],
    options: { readonly commit: boolean; readonly nowMs?: number },
  ): readonly Verdict[] {
    const fallbacks = charges.map(charge => charge.fallback ?? this.#fallback)
    const localCharges = charges.map((charge, index) => this.#localChargeOf(charge, fallbacks[index]!))
    const denied = charges.some((charge, index) => fallbacks[index] === 'deny' && charge.soft !== true)
    const counted = localCharges.filter(charge => charge !== undefined)
    const commit = options.commit && !denied
    const verdicts = this.#memory.decide(counted, { ...options, commit })
    if (options.commit)
      for (const [index, charge] of charges.entries()) this.#answered.set(charge, localCharges[index])
    let next = 0
    return charges.map((charge, index) => {
      if (localCharges[index] === undefined) return uncountedVerdict(charge, fallbacks[index] !== 'deny')
      const verdict = verdicts[next++]!
      verdict.fallback = 'local'
      // A cost too large for the per-node limit may still fit the full limit.
      if (verdict.retryAfterMs === Infinity && charge.cost <= charge.limit.capacity) {
        verdict.retryAfterMs = RETRY_MS
      }
      return verdict
    })
  }

  /** Refunds the charges answered here; returns the others, which belong to the store. */
  refund(charges: readonly Charge[]): readonly Charge[] {
    const localCharges = charges.flatMap(charge => this.#answered.get(charge) ?? [])
    if (localCharges.length > 0) this.#memory.refund(localCharges)
    return charges.filter(charge => !this.#answered.has(charge))
  }

  forget(selector: StateSelector): void {
    this.#memory.forget(selector)
  }

  watch(listener: (warning: TableFullWarning) => void): () => void {
    return this.#memory.watch(listener)
  }

  close(): Promise<void> {
    return this.#memory.close()
  }

  #localChargeOf(charge: Charge, word: Fallback): Charge | undefined {
    if (word === 'memory') return charge
    return word === 'degraded' ? { ...charge, limit: this.#perNodeLimit(charge.limit) } : undefined
  }

  #perNodeLimit(limit: Limit): Limit {
    let perNode = this.#perNodeLimits.get(limit)
    if (perNode === undefined) {
      perNode = perNodeLimit(limit, this.#nodes)
      this.#perNodeLimits.set(limit, perNode)
    }
    return perNode
  }
}

function uncountedVerdict({ limit }: Charge, allowed: boolean): Verdict {
  const waitMs = allowed ? 0 : RETRY_MS
  const remaining = allowed ? limit.capacity : 0
  return { allowed, remaining, retryAfterMs: waitMs, resetMs: waitMs, fallback: 'none' }
}
