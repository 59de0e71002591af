import type { Limit } from '../../src/algorithms/limit-types.ts'
import type { Store } from '../../src/stores/store.ts'

/** Numbers of decisions by their result. */
export interface StoreLoadResult {
  admitted: number
  denied: number
  failed: number
  /** Longest duration of a decision. */
  longestMs: number
  /** Number of errors, by the first 40 characters of their text. */
  readonly errors: Map<string, number>
}

/** Charges one unit of each key in turn, with `inFlight` concurrent decisions, until `isOver` returns true. */
export async function runStoreLoad(
  store: Store,
  limit: Limit,
  keys: readonly string[],
  { inFlight, isOver }: { readonly inFlight: number; readonly isOver: () => boolean },
): Promise<StoreLoadResult> {
  const result: StoreLoadResult = { admitted: 0, denied: 0, failed: 0, longestMs: 0, errors: new Map() }
  let turn = 0
  const ask = async (): Promise<void> => {
    while (!isOver()) {
      const startMs = performance.now()
      try {
        const [verdict] = await store.decide([{ limit, key: keys[turn++ % keys.length]!, cost: 1 }], {
          commit: true,
        })
        if (verdict!.allowed) result.admitted++
        else result.denied++
      } catch (error) {
        result.failed++
        const text = String(error).slice(0, 40)
        result.errors.set(text, (result.errors.get(text) ?? 0) + 1)
      }
      result.longestMs = Math.max(result.longestMs, performance.now() - startMs)
      // Decisions that fail at once must not block the event loop.
      await new Promise(resolve => setTimeout(resolve, 2))
    }
  }
  await Promise.all(Array.from({ length: inFlight }, ask))
  return result
}
