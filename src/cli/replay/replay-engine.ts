import type { Decision } from '../../core/decision.ts'
import type { MaybePromise } from '../../core/message.ts'
import type { Gate } from '../../index.ts'
import type { CaptureRecord } from '../capture/capture-format.ts'
import { SimulatedHandlers } from './simulated-handlers.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** Decides captured messages with a gate, each at its own time on a virtual clock. */
export class ReplayEngine {
  readonly #gate: Gate
  readonly #clock: VirtualClock
  readonly #pendingHandlers: SimulatedHandlers
  constructor(gate: Gate, clock: VirtualClock) {
    this.#gate = gate
    this.#clock = clock
    this.#pendingHandlers = new SimulatedHandlers(({ dueMs, message, handled }) => {
      clock.moveTo(dueMs)
      gate.handlerMonitor.record(message, handled)
    })
  }

  /** Returns a promise only if the store does: one per line would cost more than the decision. */
  decide(captured: CaptureRecord): MaybePromise<Decision> {
    this.moveTo(captured.atMs)
    const answer = this.#gate.check(captured.message)
    if (answer instanceof Promise) return answer.then(decision => this.#handle(captured, decision))
    return this.#handle(captured, answer)
  }

  /** Advances the clock and ends handlers that are due. */
  moveTo(ms: number): void {
    this.#pendingHandlers.endDue(ms)
    this.#clock.moveTo(ms)
  }

  /** Starts the recorded handler of an allowed message; its end is reported at its own time. */
  #handle({ atMs, message, handled }: CaptureRecord, decision: Decision): Decision {
    if (decision.allowed && handled !== undefined && this.#gate.handlerMonitor.isUsed)
      this.#pendingHandlers.add(atMs, message, handled)
    return decision
  }
}
