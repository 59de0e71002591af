import type { Decision } from '../core/decision.ts'
import type { MaybePromise } from '../core/message.ts'
import type { Gate } from '../index.ts'
import type { Captured } from './capture-format.ts'
import { PendingHandlers } from './pending-handlers.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** Has a gate decide captured messages, each at its own moment on a virtual clock. */
export class ReplayEngine {
  readonly #gate: Gate
  readonly #clock: VirtualClock
  /** Handlers that are at work. */
  readonly #pendingHandlers: PendingHandlers
  /** Messages of an earlier moment than one before them: the gate decides them at the latest moment so far. */
  outOfOrder = 0
  #latestMs = Number.NEGATIVE_INFINITY

  constructor(gate: Gate, clock: VirtualClock) {
    this.#gate = gate
    this.#clock = clock
    this.#pendingHandlers = new PendingHandlers(({ dueMs, message, handled }) => {
      clock.moveTo(dueMs)
      gate.handlerMonitor.record(message, handled)
    })
  }

  /** A promise only where it must be: one for each line would cost more than the decision. */
  decide(captured: Captured): MaybePromise<Decision> {
    if (captured.atMs < this.#latestMs) this.outOfOrder++
    else this.#latestMs = captured.atMs
    this.moveTo(captured.atMs)
    const answer = this.#gate.check(captured.message)
    if (answer instanceof Promise) return answer.then(decision => this.#handle(captured, decision))
    return this.#handle(captured, answer)
  }

  /** Lets time pass. */
  moveTo(ms: number): void {
    this.#pendingHandlers.pass(ms)
    this.#clock.moveTo(ms)
  }

  /** What passed is handled, and the end of that is told at its own moment. */
  #handle({ atMs, message, handled }: Captured, decision: Decision): Decision {
    if (decision.allowed && handled !== undefined && this.#gate.handlerMonitor.isUsed)
      this.#pendingHandlers.add(atMs, message, handled)
    return decision
  }
}
