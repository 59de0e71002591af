import { type Decision, OUTCOMES, type Outcome } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { OutcomeFunction } from '../outcomes/exceeded.ts'
import type { RuleInfoSource } from '../outcomes/rule-info.ts'
import type { SafeGate } from './safe-gate.ts'

/** Turns a gate's decision into the one to enact: calls custom outcomes and samples degraded messages. */
export class OutcomeResolver {
  readonly #ruleLookup: RuleInfoSource
  readonly #safeGate: SafeGate
  readonly #sampler = new DegradeSampler()

  constructor(ruleLookup: RuleInfoSource, safeGate: SafeGate) {
    this.#ruleLookup = ruleLookup
    this.#safeGate = safeGate
  }

  /** Returns the decision to enact. Never throws or rejects. */
  resolve(decision: Decision, message: Message): MaybePromise<Decision> {
    const { outcome, rule } = decision
    if (rule === undefined || (outcome !== 'reject' && outcome !== 'degrade')) return decision
    const plan = this.#ruleLookup.ruleOf?.(rule)?.exceeded
    if (plan === undefined) return decision
    if (outcome === 'degrade') {
      const n = plan.degrade?.sample ?? 1
      if (n <= 1 || this.#sampler.isChosen(`${rule}\n${this.#safeGate.keyOf(rule, message) ?? ''}`, n))
        return decision
      return { ...decision, allowed: false, outcome: 'drop', reason: 'rate_limit_exceeded' }
    }
    return plan.custom === undefined ? decision : this.#runCustom(plan.custom, message, decision)
  }

  #runCustom(custom: OutcomeFunction, message: Message, decision: Decision): MaybePromise<Decision> {
    // The function may let the refused message pass.
    this.#safeGate.forgetPayload(message)
    try {
      const answer = custom(message, decision)
      if (!(answer instanceof Promise)) return toDecision(answer, decision)
      return this.#safeGate.withTimeout(
        answer.then(outcome => toDecision(outcome, decision)),
        cause => {
          this.#safeGate.logFailure(cause)
          return decision
        },
      )
    } catch (cause) {
      this.#safeGate.logFailure(cause)
      return decision
    }
  }
}

/** Converts the answer of a custom outcome. Returns the refusal if the answer is not an outcome. */
function toDecision(answer: unknown, refusal: Decision): Decision {
  const fields =
    typeof answer === 'object' && answer !== null ? (answer as Partial<Decision>) : { outcome: answer }
  const outcome = fields.outcome as Outcome
  if (!OUTCOMES.includes(outcome)) return refusal
  const allowed = outcome === 'deliver' || outcome === 'degrade'
  const askedMs: unknown = (fields as Partial<Decision>).retryAfterMs
  const retryAfterMs = typeof askedMs === 'number' && askedMs > 0 ? askedMs : refusal.retryAfterMs
  return {
    ...refusal,
    ...(fields as Partial<Decision>),
    outcome,
    allowed,
    retryAfterMs: allowed ? 0 : retryAfterMs,
  }
}

/**
 * Chooses 1 message in `n` for each key: the first, the (n + 1)th and so on. Remembers `MAX_SIZES.sampledKeys`
 * keys; beyond that the least recently used key starts anew.
 */
export class DegradeSampler {
  /** Messages since the last chosen one. Least recently used keys come first. */
  readonly #sinceChosen = new Map<string, number>()

  isChosen(key: string, n: number): boolean {
    const before = this.#sinceChosen.get(key)
    const position = before === undefined || before + 1 >= n ? 0 : before + 1
    this.#sinceChosen.delete(key)
    this.#sinceChosen.set(key, position)
    if (this.#sinceChosen.size > MAX_SIZES.sampledKeys) {
      const [oldest] = this.#sinceChosen.keys()
      this.#sinceChosen.delete(oldest!)
    }
    return position === 0
  }
}
