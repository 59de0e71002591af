import { toGrains } from '../../algorithms/limit-types.ts'
import { holdsFor } from '../../conditions/condition.ts'
import type { Decision } from '../../core/decision.ts'
import type { Message } from '../../core/message.ts'
import type { HeldLeases } from '../../stores/leased/held-leases.ts'
import type { Lease } from '../../stores/leased/lease.ts'
import type { Store } from '../../stores/store.ts'
import type { RuleInPlan } from '../routing/plan-steps.ts'
import type { Rule } from '../rules/create-limit-middleware.ts'
import { keyOf } from '../rules/rule-key.ts'
import { decideSize, type SizeRule } from '../rules/size-limit.ts'
import { hasReachedShare, type UsageWarnings } from '../rules/usage-warning.ts'
import type { SenderState } from '../senders/sender-state.ts'
import {
  allowDecision,
  combineDecisions,
  combineVerdicts,
  type PassDecision,
  passDecisionFor,
  type RuleVerdict,
} from './combine-verdicts.ts'
import { VARIABLE_COST } from './memory-rule.ts'

/** A rule with the results for the current message. Reused for every message. */
class LeasedRuleEvaluation implements RuleVerdict {
  readonly rule: Rule
  readonly planned: RuleInPlan
  readonly fixedGrains: number
  readonly capacity: number
  readonly isConditional: boolean
  /** Lease of the current message's key; undefined if the rule's condition does not match the message. */
  lease: Lease | undefined = undefined
  grains = 0
  allowed = false
  remaining = 0
  retryAfterMs = 0
  resetMs = 0

  constructor(planned: RuleInPlan) {
    const { limit, cost } = planned.rule
    this.rule = planned.rule
    this.planned = planned
    this.capacity = limit.capacity
    this.isConditional = planned.rule.when !== undefined
    this.fixedGrains = cost.fixed === undefined ? VARIABLE_COST : toGrains(cost.fixed, limit)
  }

  /** Returns the cost of a message in grains. */
  grainsOf(message: Message): number {
    const { rule, fixedGrains } = this
    return fixedGrains === VARIABLE_COST ? toGrains(rule.cost.unitsOf(message), rule.limit) : fixedGrains
  }

  /** Finds the lease of a message's key, by its slot in the sender state if it is known there. */
  findLease(leases: HeldLeases, message: Message, senderState: SenderState): Lease | undefined {
    const { rule, planned } = this
    const { index } = planned
    const known = leases.leaseAt(senderState.slotOf(index), senderState.generationOf(index))
    if (known !== undefined && known.rule.limit === rule.limit) return known
    const found = leases.findLease(
      rule.limit,
      keyOf(planned, message, senderState.identityOf(message.sender)),
    )
    if (found !== undefined && !rule.keys.changing) senderState.setSlot(index, found.slot, found.generation)
    return found
  }
}

/**
 * Evaluates maximum sizes and limits from leases in hand, if every rule has enough units or a known refusal. Decides the
 * same as {@link StoreEvaluator}, at once, and allocates one object per message, its decision.
 */
export class LeasedEvaluator {
  readonly #sizes: readonly SizeRule[]
  readonly #rules: readonly LeasedRuleEvaluation[]
  readonly #store: Store
  readonly #usageWarnings: UsageWarnings
  /** True if a rule is in shadow or degrades. */
  readonly #isSoft: boolean
  /** True if a rule has usage warnings. */
  readonly #isWarning: boolean
  readonly #passed: PassDecision

  /** `passed` is the decision if no rule applies. */
  constructor(
    sizes: readonly SizeRule[],
    rules: readonly RuleInPlan[],
    store: Store,
    usageWarnings: UsageWarnings,
    passed: PassDecision,
  ) {
    this.#sizes = sizes
    this.#rules = rules.map(planned => new LeasedRuleEvaluation(planned))
    this.#store = store
    this.#usageWarnings = usageWarnings
    this.#isSoft = rules.some(({ rule }) => rule.soft)
    this.#isWarning = rules.some(({ rule }) => rule.warn !== undefined)
    this.#passed = passed
  }

  /** Returns undefined, and charges nothing, if the store has to be asked or an exemption may cover the sender. */
  decide(message: Message, senderState: SenderState, nowMs: number): Decision | undefined {
    const leases = this.#store.heldLeases
    if (leases === undefined) return undefined
    const { conditional, exempt } = senderState.senderPlan!
    if (exempt !== undefined || conditional.length > 0) return undefined
    const sized = this.#sizes.length === 0 ? undefined : decideSize(this.#sizes, message, nowMs)
    if (sized === undefined) return this.#decideLimits(leases, message, senderState, nowMs)
    if (!sized.allowed) return sized
    const decision = this.#decideLimits(leases, message, senderState, nowMs)
    return decision === undefined ? undefined : combineDecisions(sized, decision)
  }

  #decideLimits(
    leases: HeldLeases,
    message: Message,
    senderState: SenderState,
    nowMs: number,
  ): Decision | undefined {
    const rules = this.#rules
    let isPartial = false
    let isDenied = false
    for (let index = 0; index < rules.length; index++) {
      const one = rules[index]!
      if (one.isConditional && !holdsFor(one.rule, message, nowMs)) {
        one.lease = undefined
        isPartial = true
        continue
      }
      const lease = one.findLease(leases, message, senderState)
      if (lease === undefined) return undefined
      const grains = one.grainsOf(message)
      const usable = lease.usable(nowMs)
      one.lease = lease
      one.grains = grains
      one.allowed = usable > 0 && usable >= grains
      if (one.allowed) continue
      if (!lease.isRefused(grains, nowMs)) return undefined
      one.remaining = lease.remainingWith(usable)
      one.retryAfterMs = lease.retryAfterMs(grains, nowMs)
      one.resetMs = lease.resetMs(nowMs)
      if (!one.rule.soft) isDenied = true
    }
    const tightest = isDenied ? undefined : this.#spend(leases, nowMs)
    let decision: Decision
    if (tightest !== undefined && !this.#isSoft) decision = allowDecision(tightest, undefined)
    else {
      const verdicts = isPartial ? rules.filter(({ lease }) => lease !== undefined) : rules
      decision = combineVerdicts(verdicts, passDecisionFor(this.#passed, message, nowMs))
    }
    if (this.#isWarning && !isDenied) this.#warn(message, senderState, nowMs)
    return decision
  }

  /** Charges all rules that allow the message. Returns the one nearest to its limit, the first on a tie. */
  #spend(leases: HeldLeases, nowMs: number): LeasedRuleEvaluation | undefined {
    let tightest: LeasedRuleEvaluation | undefined
    for (let index = 0; index < this.#rules.length; index++) {
      const one = this.#rules[index]!
      const { lease } = one
      if (lease === undefined || !one.allowed) continue
      leases.spendLease(lease, one.grains, nowMs)
      one.remaining = lease.remainingWith(lease.grains)
      one.retryAfterMs = 0
      one.resetMs = lease.resetMs(nowMs)
      if (tightest === undefined || one.remaining * tightest.capacity < tightest.remaining * one.capacity)
        tightest = one
    }
    return tightest
  }

  #warn(message: Message, senderState: SenderState, nowMs: number): void {
    for (const one of this.#rules) {
      const { rule, planned, lease, allowed, remaining } = one
      if (rule.warn === undefined || lease === undefined || !allowed) continue
      if (!hasReachedShare(rule, remaining)) continue
      this.#usageWarnings.record(
        rule,
        one,
        () => keyOf(planned, message, senderState.identityOf(message.sender)),
        nowMs,
      )
    }
  }
}
