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

/** A rule that may be for some senders only. */
export type Selective = Pick<Rule, 'name' | 'covers' | 'forLists'>

/** One action on one route: its steps, and how they are decided. */
export interface ActionPlan {
  readonly steps: readonly Step[]
  /** The decision where no rule applies. */
  readonly passed: Passed
  readonly evaluator: MemoryEvaluator | StoreEvaluator | BehaviourEvaluator | ConnectEvaluator | BanEvaluator
  /** Rules that are for some senders only. */
  readonly selective: readonly Selective[]
  /** Rules of the route that are not for the senders of this plan. */
  readonly notFor: readonly Selective[]
  /** Rulings made so far, by which exemptions cover the sender. */
  readonly senderPlans: Map<string, SenderPlan>
  /** The same for senders that some rules are not for, or whose tier or overrides change it, by what makes them differ. */
  readonly treated: Map<string, ActionPlan>
}

/** Decides about somebody who is banned: nothing of the message is looked at. */
export interface BanEvaluator {
  readonly kind: 'banned'
  readonly ban: Ban
  decide(message: Message, senderState: SenderState, nowMs: number): Decision
}

/**
 * What a plan means for a kind of sender: exemptions by identity are settled here, once, where nothing a message
 * holds can change them. Shared by all senders the same exemptions cover, so that it stays in the cache.
 */
export interface SenderPlan {
  /** The plan's; or, of senders no exemption covers, what is quicker and comes to the same. */
  readonly evaluator: ActionPlan['evaluator'] | TokenBucketEvaluator
  readonly plan: ActionPlan
  /** Exemptions that cover the sender but must be asked about each message; all come before `exempt`. */
  readonly conditional: readonly ExemptStep[]
  /** The decision of the first exemption that holds whatever the message contains. */
  readonly exempt: Decision | undefined
}

/** The plan in force for a seat: that of its conduct, where senders are told apart by it. */
export function planFor(
  senderState: SenderState,
  nowMs: number,
): Pick<ActionPlan, 'steps' | 'evaluator' | 'passed' | 'notFor'> {
  const { plan } = senderState.senderPlan!
  const { evaluator } = plan
  return evaluator.kind === 'watched' ? { ...plan, steps: evaluator.planFor(senderState, nowMs).steps } : plan
}
