import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Dialect } from '../core/message.ts'
import { type CacheBounds, TwoGenerationCache } from '../core/two-generation-cache.ts'
import type { Pattern } from './pattern.ts'
import { Trie } from './trie.ts'

const CACHE_BOUNDS: CacheBounds = {
  maxEntries: MAX_SIZES.routes,
  maxKeyChars: MAX_SIZES.routeChars,
  maxTotalChars: MAX_SIZES.routeCharsTotal,
}

/**
 * Maps topics to plans. Topics that match the same patterns share one plan, compiled once. The plans of topics
 * are kept in a bounded cache.
 */
export class Router<Plan extends {}> {
  readonly #trie: Trie
  readonly #compile: (ids: readonly number[]) => Plan
  readonly #everywhere: number[]
  readonly #plans = new Map<string, Plan>()
  readonly #topics = new TwoGenerationCache<Plan>(CACHE_BOUNDS)
  readonly #filters = new TwoGenerationCache<Plan>(CACHE_BOUNDS)

  /** `compile` receives the matching ids, ascending. Ids for every topic are added to `everywhere`. */
  constructor(
    dialect: Dialect,
    compile: (ids: readonly number[]) => Plan,
    trie = new Trie(dialect),
    everywhere: number[] = [],
  ) {
    this.#trie = trie
    this.#compile = compile
    this.#everywhere = everywhere
  }

  /** Returns a router for the same patterns that compiles every plan again. Add no id to either afterwards. */
  withoutPlans(): Router<Plan> {
    return new Router(this.#trie.dialect, this.#compile, this.#trie, this.#everywhere)
  }

  /** Adds an id for a pattern or for every topic. Ids must ascend. */
  add(pattern: Pattern | undefined, id: number): void {
    if (pattern === undefined) this.#everywhere.push(id)
    else this.#trie.add(pattern, id)
    this.#plans.clear()
    this.#topics.clear()
    this.#filters.clear()
  }

  /** Returns the plan of a topic. Never throws. */
  planOf(topic: string): Plan {
    const known = this.#topics.get(topic)
    if (known !== undefined) return known
    const plan = this.#compilePlan(this.#trie.match(topic))
    this.#topics.set(topic, plan)
    return plan
  }

  /** Returns the plan of a subscription filter. Its wildcards count as ordinary levels. Never throws. */
  planOfFilter(filter: string): Plan {
    const known = this.#filters.get(filter)
    if (known !== undefined) return known
    const plan = this.#compilePlan(this.#trie.matchFilter(filter))
    this.#filters.set(filter, plan)
    return plan
  }

  #compilePlan(matched: readonly number[]): Plan {
    const ids = this.#withEverywhere(matched)
    const shape = ids.join()
    let plan = this.#plans.get(shape)
    if (plan === undefined) {
      plan = this.#compile(ids)
      if (this.#plans.size >= MAX_SIZES.routeShapes) this.#plans.clear()
      this.#plans.set(shape, plan)
    }
    return plan
  }

  #withEverywhere(matched: readonly number[]): readonly number[] {
    if (this.#everywhere.length === 0) return matched
    return matched.length === 0 ? this.#everywhere : [...this.#everywhere, ...matched].sort((a, b) => a - b)
  }
}
