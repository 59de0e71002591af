import type { Decision } from '../../core/decision.ts'
import type { MaybePromise, Message } from '../../core/message.ts'
import {
  type BehaviourCount,
  type BehaviourLevel,
  type BehaviourTracker,
  behaviourLevelOf,
  type CompiledBehaviourFactors,
} from '../senders/behaviour-tracker.ts'
import type { BehaviourLevelSteps, SenderState } from '../senders/sender-state.ts'

/**
 * Decides by the sender's behaviour level and counts the result. The count is cached on the sender state, so
 * no name is looked up.
 */
export class BehaviourLevelEvaluator {
  readonly kind = 'behaviour'
  readonly #plans: Readonly<Record<BehaviourLevel, BehaviourLevelSteps>>
  readonly #behaviourTracker: BehaviourTracker
  readonly #compiledBehaviour: CompiledBehaviourFactors

  constructor(
    plans: Readonly<Record<BehaviourLevel, BehaviourLevelSteps>>,
    behaviourTracker: BehaviourTracker,
    compiledBehaviour: CompiledBehaviourFactors,
  ) {
    this.#plans = plans
    this.#behaviourTracker = behaviourTracker
    this.#compiledBehaviour = compiledBehaviour
  }

  decide(message: Message, senderState: SenderState, nowMs: number): MaybePromise<Decision> {
    const count = this.#countOf(senderState)
    if (count === undefined) return this.#plans.usual.evaluator.decide(message, senderState, nowMs)
    const decision = this.#plans[behaviourLevelOf(count, nowMs)].evaluator.decide(message, senderState, nowMs)
    if (decision instanceof Promise) return decision.then(settled => this.#record(count, settled, nowMs))
    return this.#record(count, decision, nowMs)
  }

  #record(count: BehaviourCount, decision: Decision, nowMs: number): Decision {
    this.#behaviourTracker.record(count, decision, nowMs)
    return decision
  }

  /** Returns the plan in force for a sender. */
  planFor(senderState: SenderState, nowMs: number): BehaviourLevelSteps {
    const count = this.#countOf(senderState)
    return this.#plans[count === undefined ? 'usual' : behaviourLevelOf(count, nowMs)]
  }

  #countOf(senderState: SenderState): BehaviourCount | undefined {
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
