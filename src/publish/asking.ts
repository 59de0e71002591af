import { type Decision, PASSED } from '../decision.ts'
import type { Gate } from '../gate.ts'
import type { Logger } from '../logger.ts'
import type { MaybePromise, Message } from '../message.ts'

/** Asks a gate that may fail: then all passes. */
export class Asking {
  readonly #gate: Gate
  readonly #logger: Logger
  failures = 0

  constructor(gate: Gate, logger: Logger) {
    this.#gate = gate
    this.#logger = logger
  }

  /** Never throws and never rejects. */
  ask(message: Message): MaybePromise<Decision> {
    try {
      const answer = this.#gate.check(message)
      return answer instanceof Promise ? answer.catch((cause: unknown) => this.#fall(cause)) : answer
    } catch (cause) {
      return this.#fall(cause)
    }
  }

  /** A gate that fails stops nobody; what it says is logged the first time. */
  #fall(err: unknown): Decision {
    if (this.failures++ === 0) {
      try {
        this.#logger.error({ err }, 'the gate of a publisher failed, the message passes')
      } catch {
        // A logger that throws must not stop a publisher.
      }
    }
    return PASSED
  }

  /** The key a rule would count a message under. Never throws. */
  keyOf(rule: string, message: Message): string | undefined {
    try {
      return this.#gate.keyOf(rule, message)
    } catch {
      return undefined
    }
  }
}
