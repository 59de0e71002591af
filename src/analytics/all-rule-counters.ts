import { MAX_SIZES } from '../core/max-sizes.ts'
import { OTHER, RuleCounters, type RuleMetrics, Series } from './rule-counters.ts'

/** Counters of all rules and tiers, bounded whatever rules middleware adds and tiers senders have. */
export class AllRuleCounters {
  readonly #counters = new Map<string, RuleCounters>()
  /** Tiers by index; {@link OTHER} has the index after the last. */
  readonly #tiers: string[] = ['']
  #lists = 0
  #ids = 0

  /** Returns the counters of a rule and the tier at an index; those of `other` if there are too many rules. */
  series(rule: string, index: number): Series {
    const counters = this.#countersOf(rule)
    let series = counters.series.get(index)
    if (series === undefined) {
      series = new Series(counters, this.#tiers[index] ?? OTHER, index)
      counters.series.set(index, series)
    }
    return series
  }

  /** Returns the index of a tier, valid until the next reset; that of `other` if there are too many tiers. */
  tierIndexOf(tier: string): number {
    const known = this.#tiers.indexOf(tier)
    if (known >= 0) return known
    if (this.#tiers.length > MAX_SIZES.metricTiers) return MAX_SIZES.metricTiers + 1
    return this.#tiers.push(tier) - 1
  }

  /** Counts a refused sender for a rule; does nothing if too many rules have lists. */
  recordViolation(
    counters: RuleCounters,
    user: string | undefined,
    ip: string | undefined,
    topic: string,
    times: number,
  ): void {
    if (!counters.lists) {
      if (this.#lists >= MAX_SIZES.violationRules) return
      this.#lists++
    }
    counters.recordViolation(user, ip, topic, times)
  }

  /** Reports the refusals of each rule since the last call. */
  drainRefusals(count: (rule: string, times: number) => void): void {
    for (const counters of this.#counters.values()) {
      const times = counters.drainRefusals()
      if (times > 0 && counters.rule !== '') count(counters.rule, times)
    }
  }

  all(): readonly Series[] {
    return [...this.#counters.values()].flatMap(({ series }) => [...series.values()])
  }

  metrics(): readonly RuleMetrics[] {
    return [...this.#counters.values()].filter(({ rule }) => rule !== '').map(counters => counters.metrics())
  }

  /** Resets one rule, or all. */
  reset(rule?: string): void {
    if (rule === undefined) {
      this.#counters.clear()
      this.#tiers.length = 1
      this.#lists = 0
    } else this.#forget(rule)
  }

  /** Removes the rules that are no longer in the policy. */
  retainRules(rules: readonly string[]): void {
    const kept = new Set(['', ...rules])
    for (const rule of this.#counters.keys()) if (!kept.has(rule)) this.#forget(rule)
  }

  #forget(rule: string): void {
    if (this.#counters.get(rule)?.lists) this.#lists--
    this.#counters.delete(rule)
  }

  #countersOf(rule: string): RuleCounters {
    const known = this.#counters.get(rule)
    if (known !== undefined) return known
    const name = rule !== '' && this.#counters.size >= MAX_SIZES.metricRules ? OTHER : rule
    const counters = this.#counters.get(name) ?? new RuleCounters(name, this.#ids++)
    this.#counters.set(name, counters)
    return counters
  }
}
