import type { Decision } from '../../core/decision.ts'
import type { MaybePromise, Message, Sender } from '../../core/message.ts'
import type { Step } from '../routing/plan-steps.ts'
import {
  type BehaviourLevel,
  type BehaviourTracker,
  behaviourLevelOf,
  type CompiledBehaviour,
  type Count,
} from '../senders/behaviour.ts'
import type { SenderState } from '../senders/sender-state.ts'

/** Whose behaviour a seat counts, and by which words of the policy. */
export interface BehaviourState {
  readonly identity: Sender
  readonly compiledBehaviour: CompiledBehaviour
  /** Undefined for a sender that has no name. */
  readonly count: Count | undefined
}

/** A plan as it is for senders of one conduct. */
export interface BehaviourPlan {
  readonly steps: readonly Step[]
  readonly evaluator: {
    decide(message: Message, senderState: SenderState, nowMs: number): MaybePromise<Decision>
  }
}

/** Decides by the conduct of who sends, and counts what becomes of it. The count hangs on the seat: no name is looked up. */
export class BehaviourEvaluator {
  readonly kind = 'watched'
  readonly #plans: Readonly<Record<BehaviourLevel, BehaviourPlan>>
  readonly #behaviourTracker: BehaviourTracker
  readonly #compiledBehaviour: CompiledBehaviour

  constructor(
    plans: Readonly<Record<BehaviourLevel, BehaviourPlan>>,
    behaviourTracker: BehaviourTracker,
    compiledBehaviour: CompiledBehaviour,
  ) {
    this.#plans = plans
    this.#behaviourTracker = behaviourTracker
    this.#compiledBehaviour = compiledBehaviour
  }

  decide(message: Message, senderState: SenderState, nowMs: number): MaybePromise<Decision> {
    const count = this.#countOf(senderState)
    if (count === undefined) return this.#plans.usual.evaluator.decide(message, senderState, nowMs)
    const decision = this.#plans[behaviourLevelOf(count, nowMs)].evaluator.decide(message, senderState, nowMs)
    if (decision instanceof Promise) return decision.then(settled => this.#note(count, settled, nowMs))
    return this.#note(count, decision, nowMs)
  }

  #note(count: Count, decision: Decision, nowMs: number): Decision {
    this.#behaviourTracker.note(count, decision, nowMs)
    return decision
  }

  /** What is in force for a seat. */
  planFor(senderState: SenderState, nowMs: number): BehaviourPlan {
    const count = this.#countOf(senderState)
    return this.#plans[count === undefined ? 'usual' : behaviourLevelOf(count, nowMs)]
  }

  #countOf(senderState: SenderState): Count | undefined {
    const { behaviourState, identity } = senderState
    if (
      behaviourState !== undefined &&
      behaviourState.identity === identity &&
      behaviourState.compiledBehaviour === this.#compiledBehaviour
    )
      return behaviourState.count
    const count = this.#behaviourTracker.countOf(identity, this.#compiledBehaviour.per)
    senderState.behaviourState = { identity, compiledBehaviour: this.#compiledBehaviour, count }
    return count
  }
}
