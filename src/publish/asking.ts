import { type Clock, limitWait } from '../clock.ts'
import { type Decision, PASSED } from '../decision.ts'
import { StoreError } from '../errors.ts'
import type { Gate } from '../gate.ts'
import type { Logger } from '../logger.ts'
import type { MaybePromise, Message } from '../message.ts'

/** The longest that middleware of the user's own may take beyond the time of its store. */
const BEYOND_STORE_MS = 1_000

/** Asks a gate that may fail, or not answer in time: then all passes. */
export class Asking {
  readonly #gate: Gate
  readonly #logger: Logger
  readonly #clock: Clock
  failures = 0

  constructor(gate: Gate, logger: Logger, clock: Clock) {
    this.#gate = gate
    this.#clock = clock
    this.#logger = logger
  }

  /** Never throws and never rejects. */
  ask(message: Message): MaybePromise<Decision> {
    try {
      const answer = this.#gate.check(message)
      return answer instanceof Promise ? this.#await(answer) : answer
    } catch (cause) {
      return this.#fall(cause)
    }
  }

  #await(answer: Promise<Decision>): Promise<Decision> {
    const withinMs = BEYOND_STORE_MS + (this.#gate.store.answersWithinMs ?? 0)
    return new Promise(resolve => {
      const cancel = limitWait(this.#clock, withinMs, () =>
        resolve(this.#fall(new StoreError(`no decision within ${withinMs} ms`))),
      )
      answer.then(
        decision => {
          cancel()
          resolve(decision)
        },
        (cause: unknown) => {
          cancel()
          resolve(this.#fall(cause))
        },
      )
    })
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
