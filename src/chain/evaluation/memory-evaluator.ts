import { holdsFor } from '../../conditions/condition.ts'
import { type Decision, PASSED } from '../../core/decision.ts'
import type { Message } from '../../core/message.ts'
import type { MemoryStore } from '../../stores/memory/memory-store.ts'
import type { ExemptStep, RuleInPlan } from '../routing/plan-steps.ts'
import { decideSize, type SizeRule } from '../rules/size-limit.ts'
import type { UsageWarnings } from '../rules/usage-warning.ts'
import type { SenderState } from '../senders/sender-state.ts'
import { combineDecisions, type PassDecision, passDecisionFor, shortenWait } from './combine-verdicts.ts'
import { MemoryRuleEvaluation } from './memory-rule.ts'
import { MemoryStoreLimitsEvaluator } from './memory-store-limits-evaluator.ts'
import { TokenBucketEvaluator } from './token-bucket-evaluator.ts'

/** Evaluates exemptions followed by limits on the memory store, synchronously. */
export class MemoryEvaluator {
  readonly kind = 'memory'
  /** Limits of exemptions. */
  readonly #own: ReadonlyMap<ExemptStep, MemoryStoreLimitsEvaluator>
  /** Undefined if there are no rules. */
  readonly #limits: MemoryStoreLimitsEvaluator | undefined
  /** Maximum sizes, evaluated before the rules. */
  readonly #sizes: readonly SizeRule[] | undefined
  /** Faster evaluator for senders without exemptions, if all rules are plain token buckets. */
  readonly buckets: TokenBucketEvaluator | undefined
  readonly #passed: PassDecision

  /** `passed` is the decision if no rule applies. */
  constructor(
    exempts: readonly ExemptStep[],
    rules: readonly RuleInPlan[],
    store: MemoryStore,
    usageWarnings: UsageWarnings,
    passed: PassDecision = PASSED,
    sizes: readonly SizeRule[] = [],
  ) {
    this.#sizes = sizes.length > 0 ? sizes : undefined
    this.#passed = passed
    const limitsOf = (planned: readonly RuleInPlan[]): MemoryStoreLimitsEvaluator =>
      new MemoryStoreLimitsEvaluator(
        planned.map(each => new MemoryRuleEvaluation(each, store)),
        usageWarnings,
      )
    const bounded = exempts.filter(step => step.own !== undefined)
    this.#own = new Map(bounded.map(step => [step, limitsOf([step.own!])]))
    const evaluations = rules.map(planned => new MemoryRuleEvaluation(planned, store))
    this.#limits = rules.length === 0 ? undefined : new MemoryStoreLimitsEvaluator(evaluations, usageWarnings)
    this.buckets = this.#sizes === undefined ? TokenBucketEvaluator.of(evaluations, this) : undefined
  }

  decide(message: Message, senderState: SenderState, nowMs: number): Decision {
    const { conditional, exempt } = senderState.senderPlan!
    let exemptAfterMs = Infinity
    for (let index = 0; index < conditional.length; index++) {
      const step = conditional[index]!
      if (!holdsFor(step.meta, message, nowMs)) continue
      const own = this.#own.get(step)
      if (own === undefined) return step.meta.decision
      const { allowed, retryAfterMs } = own.decide(message, senderState, nowMs, PASSED)
      if (allowed) return step.meta.decision
      if (retryAfterMs < exemptAfterMs) exemptAfterMs = retryAfterMs
    }
    if (exempt !== undefined) return exempt
    const sized = this.#sizes === undefined ? undefined : decideSize(this.#sizes, message, nowMs)
    let decision = sized
    if (sized === undefined) decision = this.#count(message, senderState, nowMs)
    else if (sized.allowed) decision = combineDecisions(sized, this.#count(message, senderState, nowMs))
    return exemptAfterMs < decision!.retryAfterMs ? shortenWait(decision!, exemptAfterMs) : decision!
  }

  #count(message: Message, senderState: SenderState, nowMs: number): Decision {
    const passed = passDecisionFor(this.#passed, message, nowMs)
    return this.#limits === undefined ? passed : this.#limits.decide(message, senderState, nowMs, passed)
  }
}
