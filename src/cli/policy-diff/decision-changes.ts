import { HeavyHitters } from '../../analytics/heavy-hitters.ts'
import type { Decision } from '../../core/decision.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Sender } from '../../core/message.ts'
import { nameSender } from '../replay/replay-totals.ts'

/** Differences of decisions under two policies. */
export const DECISION_CHANGES = ['newly-refused', 'newly-allowed', 'other-outcome'] as const

export type DecisionChange = (typeof DECISION_CHANGES)[number]

const LINES_SHOWN = 3
const SENDERS_SHOWN = 10

/** Messages that a rule decides otherwise. */
export interface RuleChangeCount {
  /** The rule that refuses now, or that refused before; without a rule its reason. */
  readonly rule: string
  count: number
  /** Numbers of the first lines in the capture. */
  readonly lines: number[]
}

export interface ChangeTotals {
  readonly count: number
  readonly rules: readonly RuleChangeCount[]
  readonly senders: readonly { readonly name: string; readonly count: number }[]
}

/** Counts the messages of a capture that two policies decide differently, by rule and sender. Bounded. */
export class DecisionChanges {
  messages = 0
  /** Messages that rules in shadow would have refused. */
  readonly inShadow = { old: 0, new: 0 }
  readonly #changes: Readonly<Record<DecisionChange, ChangeCounts>> = {
    'newly-refused': createCounts(),
    'newly-allowed': createCounts(),
    'other-outcome': createCounts(),
  }

  record(line: number, sender: Sender, old: Decision, now: Decision): void {
    this.messages++
    if (old.shadow !== undefined) this.inShadow.old++
    if (now.shadow !== undefined) this.inShadow.new++
    const change = changeOf(old, now)
    if (change === undefined) return
    const { rules, senders } = this.#changes[change]
    const decisive = change === 'newly-allowed' ? old : now
    const name = decisive.rule ?? decisive.reason
    let rule = rules.get(name)
    if (rule === undefined) {
      rule = { rule: name, count: 0, lines: [] }
      rules.set(name, rule)
    }
    rule.count++
    if (rule.lines.length < LINES_SHOWN) rule.lines.push(line)
    senders.add(nameSender(sender), 1)
  }

  totals(change: DecisionChange): ChangeTotals {
    const { rules, senders } = this.#changes[change]
    const sorted = [...rules.values()].sort((a, b) => b.count - a.count)
    const count = sorted.reduce((sum, each) => sum + each.count, 0)
    return {
      count,
      rules: sorted,
      senders: senders.top(SENDERS_SHOWN).map(({ name, count }) => ({ name, count })),
    }
  }
}

interface ChangeCounts {
  readonly rules: Map<string, RuleChangeCount>
  readonly senders: HeavyHitters
}

function createCounts(): ChangeCounts {
  return { rules: new Map(), senders: new HeavyHitters(MAX_SIZES.countedSenders) }
}

function changeOf(old: Decision, now: Decision): DecisionChange | undefined {
  if (old.allowed !== now.allowed) return now.allowed ? 'newly-allowed' : 'newly-refused'
  return old.outcome === now.outcome ? undefined : 'other-outcome'
}
