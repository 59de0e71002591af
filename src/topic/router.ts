import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Dialect } from '../core/message.ts'
import type { Pattern } from './pattern.ts'
import { Trie } from './trie.ts'

/** Route of a topic: the plan compiled for all patterns that match it together. */
export interface Route<Plan> {
  readonly topic: string
  readonly plan: Plan
}

/**
 * Maps topics to plans. Topics that match the same patterns share one plan, compiled once. Routes are kept in
 * a bounded cache.
 */
export class Router<Plan> {
  readonly #trie: Trie
  readonly #compile: (ids: readonly number[]) => Plan
  readonly #everywhere: number[] = []
  readonly #plans = new Map<string, Plan>()
  readonly #topics = new RouteCache<Plan>()
  readonly #filters = new RouteCache<Plan>()

  /** `compile` receives the matching ids, ascending. */
  constructor(dialect: Dialect, compile: (ids: readonly number[]) => Plan) {
    this.#trie = new Trie(dialect)
    this.#compile = compile
  }

  /** Adds an id for a pattern or for every topic. Ids must ascend. */
  add(pattern: Pattern | undefined, id: number): void {
    if (pattern === undefined) this.#everywhere.push(id)
    else this.#trie.add(pattern, id)
    this.#plans.clear()
    this.#topics.clear()
    this.#filters.clear()
  }

  /** Returns the route of a topic. Never throws. */
  route(topic: string): Route<Plan> {
    return this.#topics.get(topic) ?? this.#topics.add(topic, this.#planOf(this.#trie.match(topic)))
  }

  /** Returns the route of a subscription filter. Its wildcards count as ordinary levels. Never throws. */
  routeOfFilter(filter: string): Route<Plan> {
    return (
      this.#filters.get(filter) ?? this.#filters.add(filter, this.#planOf(this.#trie.matchFilter(filter)))
    )
  }

  #planOf(matched: readonly number[]): Plan {
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

/**
 * Cache of routes by topic, bounded in number and characters. It has two halves: a full young half becomes
 * the old one, and a route that is used again returns to the young half. Invented topics therefore do not
 * evict topics in use. Long topics are not cached. Why: V8 hashes strings of more than 16,383 characters by
 * their length alone.
 */
class RouteCache<Plan> {
  #young = new Map<string, Route<Plan>>()
  #old = new Map<string, Route<Plan>>()
  #youngChars = 0

  get(topic: string): Route<Plan> | undefined {
    const young = this.#young.get(topic)
    if (young !== undefined) return young
    const old = this.#old.get(topic)
    if (old !== undefined) this.#keep(old)
    return old
  }

  add(topic: string, plan: Plan): Route<Plan> {
    const route = { topic, plan }
    if (topic.length <= MAX_SIZES.routeChars) this.#keep(route)
    return route
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
    this.#youngChars = 0
  }

  #keep(route: Route<Plan>): void {
    const { length } = route.topic
    if (
      this.#young.size >= MAX_SIZES.routes / 2 ||
      this.#youngChars + length > MAX_SIZES.routeCharsTotal / 2
    ) {
      this.#old = this.#young
      this.#young = new Map()
      this.#youngChars = 0
    }
    this.#young.set(route.topic, route)
    this.#youngChars += length
  }
}
