import { type Clock, limitWait } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { StoreError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'
import { ALLOWED_BY_FALLBACK, DENIED_BY_FALLBACK } from '../guard/hold-budget.ts'

/** The longest that middleware of the user's own may take beyond the time of its store. */
const BEYOND_STORE_MS = 1_000

/** Causes of failure logged once each; beyond them failures are only counted. */
const LOGGED_CAUSES = 32

/** A refusal of a message about which its gate has failed. */
export interface FailedDecision extends Decision {
  readonly error: unknown
}

/** Asks a gate that may fail, or not answer in time. Only a store with the fallback `allow` lets messages pass then. */
export class SafeGate {
  readonly #gate: Gate
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #causes = new Set<string>()
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
    const storeMs = this.#gate.store.answersWithinMs
    const withinMs = BEYOND_STORE_MS + (storeMs ?? 0)
    return new Promise(resolve => {
      const cancel = limitWait(this.#clock, withinMs, () => resolve(this.#fall(lateError(withinMs, storeMs))))
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

  /** Decides as the store's fallback for a store that fails; refuses if the gate fails for another reason. */
  #fall(error: unknown): Decision {
    this.failures++
    const passes = error instanceof StoreError && this.#gate.store.fallback === 'allow'
    this.#report(error, passes ? 'passes' : 'is refused')
    if (passes) return ALLOWED_BY_FALLBACK
    const refusal: FailedDecision = { ...DENIED_BY_FALLBACK, error }
    return refusal
  }

  /** Logs a failure, once for each cause. Never throws. */
  #report(err: unknown, result: string): void {
    if (this.#causes.size >= LOGGED_CAUSES) return
    try {
      const text = err instanceof Error ? err.message : String(err)
      if (this.#causes.has(text)) return
      this.#causes.add(text)
      this.#logger.error({ err }, `the gate of a publisher failed, the message ${result}`)
    } catch {
      // Neither a cause that cannot be read nor a logger that throws may stop a publisher.
    }
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

/** A store without a time limit may be the one that is late. One with a limit has answered before. */
function lateError(withinMs: number, storeMs: number | undefined): Error {
  const text = `no decision within ${withinMs} ms`
  return storeMs === undefined ? new StoreError(text) : new Error(text)
}
