import type { Decision } from '../decision.ts'
import type { MaybePromise, Message, Sender } from '../message.ts'
import { type Behaving, type Conduct, type Conducts, type Count, conductOf } from './conduct.ts'
import type { Seat } from './seat.ts'
import type { Step } from './steps.ts'

/** Whose behaviour a seat counts, and by which words of the policy. */
export interface Watched {
  readonly identity: Sender
  readonly behaving: Behaving
  /** Undefined for a sender that has no name. */
  readonly count: Count | undefined
}

/** A plan as it is for senders of one conduct. */
export interface ConductPlan {
  readonly steps: readonly Step[]
  readonly decider: {
    decide(message: Message, seat: Seat, nowMs: number): MaybePromise<Decision>
  }
}

/** Decides by the conduct of who sends, and counts what becomes of it. The count hangs on the seat: no name is looked up. */
export class WatchedPlan {
  readonly kind = 'watched'
  readonly #plans: Readonly<Record<Conduct, ConductPlan>>
  readonly #conducts: Conducts
  readonly #behaving: Behaving

  constructor(plans: Readonly<Record<Conduct, ConductPlan>>, conducts: Conducts, behaving: Behaving) {
    this.#plans = plans
    this.#conducts = conducts
    this.#behaving = behaving
  }

  decide(message: Message, seat: Seat, nowMs: number): MaybePromise<Decision> {
    const count = this.#countOf(seat)
    if (count === undefined) return this.#plans.usual.decider.decide(message, seat, nowMs)
    const decision = this.#plans[conductOf(count, nowMs)].decider.decide(message, seat, nowMs)
    if (decision instanceof Promise) return decision.then(settled => this.#note(count, settled, nowMs))
    return this.#note(count, decision, nowMs)
  }

  #note(count: Count, decision: Decision, nowMs: number): Decision {
    this.#conducts.note(count, decision, nowMs)
    return decision
  }

  /** What is in force for a seat. */
  planFor(seat: Seat, nowMs: number): ConductPlan {
    const count = this.#countOf(seat)
    return this.#plans[count === undefined ? 'usual' : conductOf(count, nowMs)]
  }

  #countOf(seat: Seat): Count | undefined {
    const { watched, identity } = seat
    if (watched !== undefined && watched.identity === identity && watched.behaving === this.#behaving)
      return watched.count
    const count = this.#conducts.countOf(identity, this.#behaving.per)
    seat.watched = { identity, behaving: this.#behaving, count }
    return count
  }
}
