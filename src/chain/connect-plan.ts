import { holdsFor } from '../conditions/condition.ts'
import type { Decision } from '../decision.ts'
import type { MaybePromise, Message } from '../message.ts'
import type { ChainedPlan } from './chained-plan.ts'
import type { FusedPlan } from './fused-plan.ts'
import type { Seat } from './seat.ts'
import type { Flaps } from './standing.ts'

/** Counts connects before anything else decides about them; those of whom an exemption lets pass are left alone. */
export class ConnectPlan {
  readonly kind = 'connect'
  readonly #plan: FusedPlan | ChainedPlan
  readonly #flaps: Flaps

  constructor(plan: FusedPlan | ChainedPlan, flaps: Flaps) {
    this.#plan = plan
    this.#flaps = flaps
  }

  decide(message: Message, seat: Seat, nowMs: number): MaybePromise<Decision> {
    const refused = isExempt(message, seat, nowMs)
      ? undefined
      : this.#flaps.take(seat.identity, message, nowMs)
    return refused ?? this.#plan.decide(message, seat, nowMs)
  }

  /** The refusal of a connect whose sender has been authenticated since it was decided. */
  confirm(message: Message, seat: Seat, nowMs: number): Decision | undefined {
    return isExempt(message, seat, nowMs) ? undefined : this.#flaps.confirm(seat.identity, message, nowMs)
  }

  /** The refusal a connect would meet; undefined where the chain decides. Counts nothing. */
  peek(message: Message, seat: Seat, nowMs: number): Decision | undefined {
    return isExempt(message, seat, nowMs) ? undefined : this.#flaps.peek(seat.identity, nowMs)
  }
}

/** Whether an exemption lets it pass that has no limit of its own. */
function isExempt(message: Message, seat: Seat, nowMs: number): boolean {
  const { exempt, conditional } = seat.ruling!
  if (exempt !== undefined) return true
  return conditional.some(step => step.own === undefined && holdsFor(step.station, message, nowMs))
}
