import type { Decision, Outcome } from '../../core/decision.ts'
import type { Gate } from '../../index.ts'

/** Decisions of one rule on messages, not on connects. A throttled message is decided again and counts each time. */
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

/** Counts decisions on messages of a gate by rule, without those that name no rule. */
export class RuleCounts {
  readonly #counts = new Map<string, Count>()

  constructor(gate: Gate) {
    gate.on('decision', (decision, { on }) => {
      if (on !== 'connect') this.#recordDecision(decision)
    })
  }

  /** Returns counts in the order of the rules' first decisions. */
  list(): readonly RuleCount[] {
    return [...this.#counts.values()]
  }

  #recordDecision({ rule, allowed, outcome }: Decision): void {
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
