import type { Decision } from '../../core/decision.ts'
import type { Message } from '../../core/message.ts'
import type { BehaviourEvaluator } from '../evaluation/behaviour-evaluator.ts'
import type { Passed } from '../evaluation/combine-verdicts.ts'
import type { ConnectEvaluator } from '../evaluation/connect-evaluator.ts'
import type { MemoryEvaluator } from '../evaluation/memory-evaluator.ts'
import type { StoreEvaluator } from '../evaluation/store-evaluator.ts'
import type { TokenBucketEvaluator } from '../evaluation/token-bucket-evaluator.ts'
import type { Rule } from '../rules/rule.ts'
import type { Ban } from '../senders/sender-overrides.ts'
import type { SenderState } from '../senders/sender-state.ts'
import type { ExemptStep, Step } from './plan-steps.ts'

/** A rule with a `for` list. */
export type Selective = Pick<Rule, 'name' | 'covers' | 'forLists'>

/** The plan of one action on one route. */
export interface ActionPlan {
  readonly steps: readonly Step[]
  /** Decision if no rule applies. */
  readonly passed: Passed
  readonly evaluator: MemoryEvaluator | StoreEvaluator | BehaviourEvaluator | ConnectEvaluator | BanEvaluator
  /** Rules that apply to some senders only. */
  readonly selective: readonly Selective[]
  /** Rules of the route that do not apply to the senders of this plan. */
  readonly notFor: readonly Selective[]
  /** Sender plans by the set of exemptions that cover the sender. */
  readonly senderPlans: Map<string, SenderPlan>
  /** Variants of this plan for senders with excluded rules, another tier or overrides. */
  readonly treated: Map<string, ActionPlan>
}

/** Evaluator of a banned sender. Ignores the message. */
export interface BanEvaluator {
  readonly kind: 'banned'
  readonly ban: Ban
  decide(message: Message, senderState: SenderState, nowMs: number): Decision
}

/**
 * A plan specialised for senders covered by the same exemptions. Exemptions that do not depend on the message
 * are evaluated here, once. Shared by all such senders, so that it stays in the CPU cache.
 */
export interface SenderPlan {
  /** The plan's evaluator, or a faster equivalent for senders without exemptions. */
  readonly evaluator: ActionPlan['evaluator'] | TokenBucketEvaluator
  readonly plan: ActionPlan
  /** Exemptions that cover the sender but depend on the message. All precede `exempt`. */
  readonly conditional: readonly ExemptStep[]
  /** Decision of the first exemption that applies to every message of the sender. */
  readonly exempt: Decision | undefined
}

/** Returns the plan in force for a sender, by its behaviour level if there are any. */
export function planFor(
  senderState: SenderState,
  nowMs: number,
): Pick<ActionPlan, 'steps' | 'evaluator' | 'passed' | 'notFor'> {
  const { plan } = senderState.senderPlan!
  const { evaluator } = plan
  return evaluator.kind === 'watched' ? { ...plan, steps: evaluator.planFor(senderState, nowMs).steps } : plan
}
