import type { Limit } from '../../algorithms/limit.ts'
import type { Clock } from '../../core/clock.ts'
import { MemoryStore } from '../memory/memory-store.ts'
import type { Charge, Fallback, Selector, StoreWarning, Verdict } from '../store.ts'
import { perNodeLimit } from './per-node-limit.ts'

export interface FallbackStoreOptions {
  /** Who answers a charge that does not say so itself. */
  readonly fallback: Fallback
  /** How many nodes share the store, where that is known: `degraded` is then a share of it, else the half. */
  readonly nodes?: number | undefined
  readonly clock: Clock
}

/** After this a message that was denied because nobody counts may ask again. */
const ASK_AGAIN_MS = 1_000

/**
 * Answers in a store's place, each charge by its own fallback. Counts in the memory of this process, under the same
 * bounds as any memory store; what it counted is kept for the next outage, so that a store which comes and goes does
 * not mint a burst each time.
 */
export class FallbackStore {
  readonly #fallback: Fallback
  readonly #parts: number
  readonly #memory: MemoryStore
  readonly #shares = new WeakMap<Limit, Limit>()
  /** The charges it answered, and what was charged here for them, to give back what was taken where it was taken. */
  readonly #answered = new WeakMap<Charge, Charge | undefined>()

  constructor(options: FallbackStoreOptions) {
    this.#fallback = options.fallback
    this.#parts = options.nodes ?? 2
    this.#memory = new MemoryStore({ clock: options.clock })
  }

  /** All charges are taken, or, when one that is not soft is denied, none; as the store would. */
  answer(
    charges: readonly Charge[],
    options: { readonly commit: boolean; readonly nowMs?: number },
  ): readonly Verdict[] {
    const words = charges.map(charge => charge.fallback ?? this.#fallback)
    const own = charges.map((charge, index) => this.#ownOf(charge, words[index]!))
    const denied = charges.some((charge, index) => words[index] === 'deny' && charge.soft !== true)
    const counted = own.filter(charge => charge !== undefined)
    const commit = options.commit && !denied
    const verdicts = this.#memory.decide(counted, { ...options, commit })
    if (options.commit)
      for (const [index, charge] of charges.entries()) this.#answered.set(charge, own[index])
    let next = 0
    return charges.map((charge, index) => {
      if (own[index] === undefined) return uncounted(charge, words[index] !== 'deny')
      const verdict = verdicts[next++]!
      verdict.fallback = 'local'
      // Too much for a share of the limit is not too much for the limit.
      if (verdict.retryAfterMs === Infinity && charge.cost <= charge.limit.capacity) {
        verdict.retryAfterMs = ASK_AGAIN_MS
      }
      return verdict
    })
  }

  /** Gives back what it took itself; returns the charges that were the store's. */
  refund(charges: readonly Charge[]): readonly Charge[] {
    const own = charges.flatMap(charge => this.#answered.get(charge) ?? [])
    if (own.length > 0) this.#memory.refund(own)
    return charges.filter(charge => !this.#answered.has(charge))
  }

  forget(selector: Selector): void {
    this.#memory.forget(selector)
  }

  watch(listener: (warning: StoreWarning) => void): () => void {
    return this.#memory.watch(listener)
  }

  close(): Promise<void> {
    return this.#memory.close()
  }

  #ownOf(charge: Charge, word: Fallback): Charge | undefined {
    if (word === 'memory') return charge
    return word === 'degraded' ? { ...charge, limit: this.#perNodeLimit(charge.limit) } : undefined
  }

  #perNodeLimit(limit: Limit): Limit {
    let share = this.#shares.get(limit)
    if (share === undefined) {
      share = perNodeLimit(limit, this.#parts)
      this.#shares.set(limit, share)
    }
    return share
  }
}

function uncounted({ limit }: Charge, allowed: boolean): Verdict {
  const waitMs = allowed ? 0 : ASK_AGAIN_MS
  const remaining = allowed ? limit.capacity : 0
  return { allowed, remaining, retryAfterMs: waitMs, resetMs: waitMs, fallback: 'nobody' }
}
