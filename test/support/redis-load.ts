import type { Limit } from '../../src/algorithms/limit-types.ts'
import type { Store } from '../../src/stores/store.ts'

export interface Load {
  admitted: number
  denied: number
  failed: number
  /** The longest any answer took. */
  longestMs: number
  /** Errors by their first words. */
  readonly errors: Map<string, number>
}

/** Asks a store for one unit of each key in turn, so many at once, for as long as is said. Counts the answers. */
export async function askFor(
  store: Store,
  limit: Limit,
  keys: readonly string[],
  { inFlight, isOver }: { readonly inFlight: number; readonly isOver: () => boolean },
): Promise<Load> {
  const load: Load = { admitted: 0, denied: 0, failed: 0, longestMs: 0, errors: new Map() }
  let turn = 0
  const ask = async (): Promise<void> => {
    while (!isOver()) {
      const startMs = performance.now()
      try {
        const [verdict] = await store.decide([{ limit, key: keys[turn++ % keys.length]!, cost: 1 }], {
          commit: true,
        })
        if (verdict!.allowed) load.admitted++
        else load.denied++
      } catch (error) {
        load.failed++
        const words = String(error).slice(0, 40)
        load.errors.set(words, (load.errors.get(words) ?? 0) + 1)
      }
      load.longestMs = Math.max(load.longestMs, performance.now() - startMs)
      // Those that are refused at once must not keep the process from all else.
      await new Promise(resolve => setTimeout(resolve, 2))
    }
  }
  await Promise.all(Array.from({ length: inFlight }, ask))
  return load
}
