import type { Decision } from '../decision.ts'
import type { Message } from '../message.ts'
import type { Buckets } from './buckets.ts'
import type { ChainedPlan } from './chained-plan.ts'
import type { ConnectPlan } from './connect-plan.ts'
import type { Passed } from './fold.ts'
import type { FusedPlan } from './fused-plan.ts'
import type { Rule } from './limit.ts'
import type { Seat } from './seat.ts'
import type { Ban } from './standing.ts'
import type { ExemptStep, Step } from './steps.ts'
import type { WatchedPlan } from './watched-plan.ts'

/** A rule that may be for some senders only. */
export type Selective = Pick<Rule, 'name' | 'covers' | 'forLists'>

/** One action on one route: its steps, and how they are decided. */
export interface ActionPlan {
  readonly steps: readonly Step[]
  /** The decision where no rule applies. */
  readonly passed: Passed
  readonly decider: FusedPlan | ChainedPlan | WatchedPlan | ConnectPlan | Refusing
  /** Rules that are for some senders only. */
  readonly selective: readonly Selective[]
  /** Rules of the route that are not for the senders of this plan. */
  readonly notFor: readonly Selective[]
  /** Rulings made so far, by which exemptions cover the sender. */
  readonly rulings: Map<string, Ruling>
  /** The same for senders that some rules are not for, or whose tier or overrides change it, by what makes them differ. */
  readonly treated: Map<string, ActionPlan>
}

/** Decides about somebody who is banned: nothing of the message is looked at. */
export interface Refusing {
  readonly kind: 'banned'
  readonly ban: Ban
  decide(message: Message, seat: Seat, nowMs: number): Decision
}

/**
 * What a plan means for a kind of sender: exemptions by identity are settled here, once, where nothing a message
 * holds can change them. Shared by all senders the same exemptions cover, so that it stays in the cache.
 */
export interface Ruling {
  /** The plan's; or, of senders no exemption covers, what is quicker and comes to the same. */
  readonly decider: ActionPlan['decider'] | Buckets
  readonly plan: ActionPlan
  /** Exemptions that cover the sender but must be asked about each message; all come before `exempt`. */
  readonly conditional: readonly ExemptStep[]
  /** The decision of the first exemption that holds whatever the message contains. */
  readonly exempt: Decision | undefined
}

/** The plan in force for a seat: that of its conduct, where senders are told apart by it. */
export function planFor(
  seat: Seat,
  nowMs: number,
): Pick<ActionPlan, 'steps' | 'decider' | 'passed' | 'notFor'> {
  const { plan } = seat.ruling!
  const { decider } = plan
  return decider.kind === 'watched' ? { ...plan, steps: decider.planFor(seat, nowMs).steps } : plan
}
