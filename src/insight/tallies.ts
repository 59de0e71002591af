import { BOUNDS } from '../bounds.ts'
import { OTHER, type RuleMetrics, RuleTally, Series } from './rule-tally.ts'

/** The series of all rules and tiers. Bounded, whatever rules middleware invents and whatever tiers senders have. */
export class Tallies {
  readonly #tallies = new Map<string, RuleTally>()
  /** By place; {@link OTHER}'s is the one after the last there may be. */
  readonly #tiers: string[] = ['']
  #lists = 0
  #ids = 0

  /** The series of a rule and the tier at a place; one of `other` where there are too many rules. */
  series(rule: string, place: number): Series {
    const tally = this.#tallyOf(rule)
    let series = tally.series.get(place)
    if (series === undefined) {
      series = new Series(tally, this.#tiers[place] ?? OTHER, place)
      tally.series.set(place, series)
    }
    return series
  }

  /** The place of a tier, a small number, until all begins anew; that of `other` where there are too many. */
  placeOf(tier: string): number {
    const known = this.#tiers.indexOf(tier)
    if (known >= 0) return known
    if (this.#tiers.length > BOUNDS.metricTiers) return BOUNDS.metricTiers + 1
    return this.#tiers.push(tier) - 1
  }

  /** Counts whom a rule refused; where too many rules have lists already, it does not. */
  violate(
    tally: RuleTally,
    user: string | undefined,
    ip: string | undefined,
    topic: string,
    times: number,
  ): void {
    if (!tally.lists) {
      if (this.#lists >= BOUNDS.violationRules) return
      this.#lists++
    }
    tally.violate(user, ip, topic, times)
  }

  /** Gives away what each rule has refused since it was last asked. */
  settle(count: (rule: string, times: number) => void): void {
    for (const tally of this.#tallies.values()) {
      const times = tally.settle()
      if (times > 0 && tally.rule !== '') count(tally.rule, times)
    }
  }

  all(): readonly Series[] {
    return [...this.#tallies.values()].flatMap(({ series }) => [...series.values()])
  }

  metrics(): readonly RuleMetrics[] {
    return [...this.#tallies.values()].filter(({ rule }) => rule !== '').map(tally => tally.metrics())
  }

  /** Begins anew: with one rule, or with all. */
  reset(rule?: string): void {
    if (rule === undefined) {
      this.#tallies.clear()
      this.#tiers.length = 1
      this.#lists = 0
    } else this.#forget(rule)
  }

  /** Forgets the rules a policy no longer has. */
  keep(rules: readonly string[]): void {
    const kept = new Set(['', ...rules])
    for (const rule of this.#tallies.keys()) if (!kept.has(rule)) this.#forget(rule)
  }

  #forget(rule: string): void {
    if (this.#tallies.get(rule)?.lists) this.#lists--
    this.#tallies.delete(rule)
  }

  #tallyOf(rule: string): RuleTally {
    const known = this.#tallies.get(rule)
    if (known !== undefined) return known
    const name = rule !== '' && this.#tallies.size >= BOUNDS.metricRules ? OTHER : rule
    const tally = this.#tallies.get(name) ?? new RuleTally(name, this.#ids++)
    this.#tallies.set(name, tally)
    return tally
  }
}
