import { holdsFor } from '../../conditions/condition.ts'
import type { Decision } from '../../core/decision.ts'
import type { MaybePromise, Message } from '../../core/message.ts'
import type { CompiledPenalty } from '../rules/compile-penalty.ts'
import type { ConnectCounter } from '../senders/sender-runtime-settings.ts'
import type { Evaluator, SenderState } from '../senders/sender-state.ts'

/** Counts connects before the chain decides, except those that an exemption lets pass. */
export class ConnectCountingEvaluator {
  readonly kind = 'connect'
  readonly #evaluator: Evaluator
  readonly #connectCounter: ConnectCounter
  readonly #penalty: CompiledPenalty

  constructor(evaluator: Evaluator, connectCounter: ConnectCounter, penalty: CompiledPenalty) {
    this.#evaluator = evaluator
    this.#connectCounter = connectCounter
    this.#penalty = penalty
  }

  decide(message: Message, senderState: SenderState, nowMs: number): MaybePromise<Decision> {
    const refused = isExempt(message, senderState, nowMs)
      ? undefined
      : this.#connectCounter.countConnect(this.#penalty, senderState.identity, message, nowMs)
    return refused ?? this.#evaluator.decide(message, senderState, nowMs)
  }

  /** Counts a connect whose sender was authenticated after the check. Returns the refusal if it is one too many. */
  confirm(message: Message, senderState: SenderState, nowMs: number): Decision | undefined {
    return isExempt(message, senderState, nowMs)
      ? undefined
      : this.#connectCounter.confirmConnect(this.#penalty, senderState.identity, message, nowMs)
  }

  /** Returns the refusal that a connect would get; undefined if the chain decides. Counts nothing. */
  peek(message: Message, senderState: SenderState, nowMs: number): Decision | undefined {
    return isExempt(message, senderState, nowMs)
      ? undefined
      : this.#connectCounter.peekConnect(this.#penalty, senderState.identity, nowMs)
  }
}

/** Returns true if an exemption without a limit of its own applies. */
function isExempt(message: Message, senderState: SenderState, nowMs: number): boolean {
  const { exempt, conditional } = senderState.senderPlan!
  if (exempt !== undefined) return true
  return conditional.some(step => step.own === undefined && holdsFor(step.meta, message, nowMs))
}
