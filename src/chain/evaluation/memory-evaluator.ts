import { toGrains } from '../../algorithms/limit-types.ts'
import { holdsFor } from '../../conditions/condition.ts'
import { type Decision, PASSED } from '../../core/decision.ts'
import type { Message } from '../../core/message.ts'
import type { MemoryStore } from '../../stores/memory/memory-store.ts'
import type { ExemptStep, RuleInPlan } from '../routing/plan-steps.ts'
import { keyOf } from '../rules/key.ts'
import { decideSize, type SizeRule } from '../rules/size-limit.ts'
import type { UsageWarnings } from '../rules/usage-warning.ts'
import type { SenderState } from '../senders/sender-state.ts'
import {
  allowDecision,
  combineDecisions,
  combineVerdicts,
  denyDecision,
  findShadowRefusals,
  isHarsherVerdict,
  isNearerToLimit,
  type PassDecision,
  passDecisionFor,
  shortenWait,
} from './combine-verdicts.ts'
import { MemoryRuleEvaluation, VARIABLE_COST } from './memory-rule.ts'
import { TokenBucketEvaluator } from './token-bucket-evaluator.ts'

/** Finds the record of each rule, before any is charged. Why: the cache misses then overlap. */
function find(
  rules: readonly MemoryRuleEvaluation[],
  message: Message,
  senderState: SenderState,
  nowMs: number,
): void {
  for (let index = 0; index < rules.length; index++) {
    const one = rules[index]!
    const slot = senderState.slotOf(one.index)
    const generation = senderState.generationOf(one.index)
    one.slot = one.records.isOf(slot, generation) ? slot : one.findSlot(message, senderState, nowMs)
  }
}

/**
 * Charges rules of any kind together in the memory store. Allocates one object per message, its decision. All
 * rules are probed before any is charged, so a denied message charges nothing. Only soft rules need
 * `combineVerdicts`: otherwise the denials are known after probing, and the rule nearest to its limit after
 * charging.
 */
function charge(
  rules: readonly MemoryRuleEvaluation[],
  passed: Decision,
  message: Message,
  senderState: SenderState,
  nowMs: number,
): Decision {
  find(rules, message, senderState, nowMs)
  let worst: MemoryRuleEvaluation | undefined
  let retryAfterMs = 0
  let softly = false
  let shadowed = false
  for (let index = 0; index < rules.length; index++) {
    const one = rules[index]!
    let grains = one.fixedGrains
    if (grains === VARIABLE_COST) grains = toGrains(one.rule.cost.unitsOf(message), one.rule.limit)
    one.grains = grains
    const waitMs = one.records.probe(one.slot, nowMs, grains, one)
    if (waitMs === 0) continue
    if (one.soft) {
      softly = true
      if (one.shadow) shadowed = true
      continue
    }
    if (waitMs > retryAfterMs) retryAfterMs = waitMs
    if (worst === undefined || isHarsherVerdict(one, worst)) worst = one
  }
  if (worst !== undefined)
    return denyDecision(worst, retryAfterMs, shadowed ? findShadowRefusals(rules) : undefined)
  let tightest: MemoryRuleEvaluation | undefined
  for (let index = 0; index < rules.length; index++) {
    const one = rules[index]!
    if (!one.allowed) continue
    one.records.take(one.slot, nowMs, one.grains)
    if (one.shadow) continue
    if (tightest === undefined || isNearerToLimit(one, tightest)) tightest = one
  }
  return softly || tightest === undefined
    ? combineVerdicts(rules, passed)
    : allowDecision(tightest, undefined)
}

/** Evaluates exemptions followed by limits on the memory store, synchronously. */
export class MemoryEvaluator {
  readonly kind = 'memory'
  readonly #own: ReadonlyMap<ExemptStep, readonly MemoryRuleEvaluation[]>
  readonly #rules: readonly MemoryRuleEvaluation[]
  /** True if a rule has a condition. Otherwise, conditions are not evaluated. */
  readonly #isConditional: boolean
  /** Maximum sizes, evaluated before the rules. */
  readonly #sizes: readonly SizeRule[] | undefined
  /** Rules whose conditions match the current message. Reused for every message. */
  readonly #applicable: MemoryRuleEvaluation[] = []
  /** Faster evaluator for senders without exemptions, if all rules are plain token buckets. */
  readonly buckets: TokenBucketEvaluator | undefined
  readonly #passed: PassDecision
  /** Rules with usage warnings; undefined if there are none. */
  readonly #warning: readonly MemoryRuleEvaluation[] | undefined
  readonly #usageWarnings: UsageWarnings

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
    this.#usageWarnings = usageWarnings
    const bounded = exempts.filter(step => step.own !== undefined)
    this.#own = new Map(bounded.map(step => [step, [new MemoryRuleEvaluation(step.own!, store)]]))
    this.#rules = rules.map(planned => new MemoryRuleEvaluation(planned, store))
    this.#isConditional = rules.some(({ rule }) => rule.when !== undefined)
    const warning = this.#rules.filter(({ rule }) => rule.warn !== undefined)
    this.#warning = warning.length > 0 ? warning : undefined
    this.buckets = this.#sizes === undefined ? TokenBucketEvaluator.of(this.#rules, this) : undefined
  }

  decide(message: Message, senderState: SenderState, nowMs: number): Decision {
    const { conditional, exempt } = senderState.senderPlan!
    let exemptAfterMs = Infinity
    for (let index = 0; index < conditional.length; index++) {
      const step = conditional[index]!
      if (!holdsFor(step.meta, message, nowMs)) continue
      const own = this.#own.get(step)
      if (own === undefined) return step.meta.decision
      const { allowed, retryAfterMs } = charge(own, PASSED, message, senderState, nowMs)
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
    const rules = this.#isConditional ? this.#rulesFor(message, nowMs) : this.#rules
    if (rules.length === 0) return passed
    const decision = charge(rules, passed, message, senderState, nowMs)
    if (this.#warning !== undefined && decision.allowed) this.#warn(rules, message, senderState, nowMs)
    return decision
  }

  #rulesFor(message: Message, nowMs: number): readonly MemoryRuleEvaluation[] {
    const applicable = this.#applicable
    applicable.length = 0
    for (const one of this.#rules) if (holdsFor(one.rule, message, nowMs)) applicable.push(one)
    return applicable
  }

  #warn(
    rules: readonly MemoryRuleEvaluation[],
    message: Message,
    senderState: SenderState,
    nowMs: number,
  ): void {
    for (const one of this.#warning!) {
      if (!one.allowed || (this.#isConditional && !rules.includes(one))) continue
      this.#usageWarnings.record(
        one.rule,
        one,
        () => keyOf(one.planned, message, senderState.identity),
        nowMs,
      )
    }
  }
}
