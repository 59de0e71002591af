import { type Decision, OUTCOMES, type Outcome } from '../core/decision.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { CustomOutcome } from '../outcomes/exceeded.ts'
import type { RuleLookup } from '../outcomes/rule-info.ts'
import type { HoldBudget } from './hold-budget.ts'
import { Sample } from './latency-sample.ts'

/** Makes a gate's decision the one that is enacted: asks a rule's own function, and samples what is degraded. */
export class OutcomeResolver {
  readonly #book: RuleLookup
  readonly #holdBudget: HoldBudget
  readonly #sample = new Sample()

  constructor(book: RuleLookup, holdBudget: HoldBudget) {
    this.#book = book
    this.#holdBudget = holdBudget
  }

  /** Never throws and never rejects. */
  refine(decision: Decision, message: Message): MaybePromise<Decision> {
    const { outcome, rule } = decision
    if (rule === undefined || (outcome !== 'reject' && outcome !== 'degrade')) return decision
    const plan = this.#book.ruleOf?.(rule)?.exceeded
    if (plan === undefined) return decision
    if (outcome === 'degrade') {
      const n = plan.degrade?.sample ?? 1
      if (n <= 1 || this.#sample.chooses(this.#keyOf(rule, message), n)) return decision
      return { ...decision, allowed: false, outcome: 'drop', reason: 'rate_limit_exceeded' }
    }
    return plan.custom === undefined ? decision : this.#askOwn(plan.custom, message, decision)
  }

  #askOwn(custom: CustomOutcome, message: Message, decision: Decision): MaybePromise<Decision> {
    try {
      const answer = custom(message, decision)
      if (!(answer instanceof Promise)) return asDecision(answer, decision)
      return this.#holdBudget.within(
        answer.then(settled => asDecision(settled, decision)),
        cause => {
          this.#holdBudget.report(cause)
          return decision
        },
      )
    } catch (cause) {
      this.#holdBudget.report(cause)
      return decision
    }
  }

  #keyOf(rule: string, message: Message): string {
    try {
      return `${rule}\n${this.#book.keyOf?.(rule, message) ?? ''}`
    } catch {
      return rule
    }
  }
}

/** What a user's function answered; the refusal itself where that is no outcome. */
function asDecision(answer: unknown, refusal: Decision): Decision {
  const given =
    typeof answer === 'object' && answer !== null ? (answer as Partial<Decision>) : { outcome: answer }
  const outcome = given.outcome as Outcome
  if (!OUTCOMES.includes(outcome)) return refusal
  const allowed = outcome === 'deliver' || outcome === 'degrade'
  const askedMs: unknown = (given as Partial<Decision>).retryAfterMs
  const retryAfterMs = typeof askedMs === 'number' && askedMs > 0 ? askedMs : refusal.retryAfterMs
  return {
    ...refusal,
    ...(given as Partial<Decision>),
    outcome,
    allowed,
    retryAfterMs: allowed ? 0 : retryAfterMs,
  }
}
