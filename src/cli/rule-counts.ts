import type { Decision, Outcome } from '../core/decision.ts'
import type { Gate } from '../index.ts'

/** What one rule said so far. A message that is throttled asks again, and counts each time it is told to wait. */
export interface RuleCount {
  readonly rule: string
  readonly passed: number
  readonly refused: ReadonlyMap<Outcome, number>
}

interface Count {
  readonly rule: string
  passed: number
  readonly refused: Map<Outcome, number>
}

/** Counts the decisions of a gate by the rule they name; those without one are left out. */
export class RuleCounts {
  readonly #counts = new Map<string, Count>()

  constructor(gate: Gate) {
    gate.on('decision', decision => this.#note(decision))
  }

  /** In the order in which the rules were first heard of. */
  list(): readonly RuleCount[] {
    return [...this.#counts.values()]
  }

  #note({ rule, allowed, outcome }: Decision): void {
    if (rule === undefined) return
    let count = this.#counts.get(rule)
    if (count === undefined) {
      count = { rule, passed: 0, refused: new Map() }
      this.#counts.set(rule, count)
    }
    if (allowed) count.passed++
    else count.refused.set(outcome, (count.refused.get(outcome) ?? 0) + 1)
  }
}
