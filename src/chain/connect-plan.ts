import type { Decision } from '../decision.ts'
import type { MaybePromise, Message } from '../message.ts'
import type { ChainedPlan } from './chained-plan.ts'
import { holdsFor } from './exempt.ts'
import type { FusedPlan } from './fused-plan.ts'
import type { Seat } from './seat.ts'
import type { Standing } from './standing.ts'

/** Counts connects before anything else decides about them; those of whom an exemption lets pass are left alone. */
export class ConnectPlan {
  readonly kind = 'connect'
  readonly #plan: FusedPlan | ChainedPlan
  readonly #flaps: NonNullable<Standing['flaps']>

  constructor(plan: FusedPlan | ChainedPlan, flaps: NonNullable<Standing['flaps']>) {
    this.#plan = plan
    this.#flaps = flaps
  }

  decide(message: Message, seat: Seat, nowMs: number): MaybePromise<Decision> {
    const { exempt, conditional } = seat.ruling!
    const isExempt =
      exempt !== undefined ||
      conditional.some(step => step.own === undefined && holdsFor(step.station, message, nowMs))
    const refused = isExempt ? undefined : this.#flaps(seat.identity, message, nowMs)
    return refused ?? this.#plan.decide(message, seat, nowMs)
  }
}
