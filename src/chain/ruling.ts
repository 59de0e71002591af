import type { Decision } from '../decision.ts'
import type { ChainedPlan } from './chained-plan.ts'
import type { FusedPlan } from './fused-plan.ts'
import type { ExemptStep, Step } from './steps.ts'

/** One action on one route: its steps, and how they are decided. */
export interface ActionPlan {
  readonly steps: readonly Step[]
  readonly decider: FusedPlan | ChainedPlan
  /** Rulings made so far, by which exemptions cover the sender. */
  readonly rulings: Map<string, Ruling>
}

/**
 * What a plan means for a kind of sender: exemptions by identity are settled here, once, where nothing a message
 * holds can change them. Shared by all senders the same exemptions cover, so that it stays in the cache.
 */
export interface Ruling {
  readonly plan: ActionPlan
  /** Exempt whatever the message holds. */
  readonly exempt: Decision | undefined
  /** Exemptions that cover the sender but must be asked about each message. */
  readonly conditional: readonly ExemptStep[]
}
