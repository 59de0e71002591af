import { type Clock, limitWait } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { StoreError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'
import { ALLOWED_BY_FALLBACK, DENIED_BY_FALLBACK } from '../guard/hold-budget.ts'

/** Longest time for custom middleware beyond the time limit of the store. */
const BEYOND_STORE_MS = 1_000

/** Most causes of failure that are logged, once each. Later causes are only counted. */
const LOGGED_CAUSES = 32

/** Refusal of a message about which the gate failed. */
export interface FailedDecision extends Decision {
  readonly error: unknown
}

/** Asks a gate that may fail or be late. Messages then pass only if the store's fallback is `allow`. */
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

  /** Asks for a decision. Never throws or rejects. */
  ask(message: Message): MaybePromise<Decision> {
    try {
      const answer = this.#gate.check(message)
      return answer instanceof Promise ? this.#awaitDecision(answer, message) : answer
    } catch (cause) {
      return this.#applyFallback(cause)
    }
  }

  #awaitDecision(answer: Promise<Decision>, message: Message): Promise<Decision> {
    const storeMs = this.#gate.store.answersWithinMs
    const withinMs = BEYOND_STORE_MS + (storeMs ?? 0)
    return new Promise(resolve => {
      const cancel = limitWait(this.#clock, withinMs, () => {
        // A later answer is ignored.
        this.#gate.forgetPayload(message)
        resolve(this.#applyFallback(lateError(withinMs, storeMs)))
      })
      answer.then(
        decision => {
          cancel()
          resolve(decision)
        },
        (cause: unknown) => {
          cancel()
          resolve(this.#applyFallback(cause))
        },
      )
    })
  }

  /** Returns the decision of the store's fallback if the store failed, else a refusal. */
  #applyFallback(error: unknown): Decision {
    this.failures++
    const passes = error instanceof StoreError && this.#gate.store.fallback === 'allow'
    this.#logFailure(error, passes ? 'passes' : 'is refused')
    if (passes) return ALLOWED_BY_FALLBACK
    const refusal: FailedDecision = { ...DENIED_BY_FALLBACK, error }
    return refusal
  }

  /** Logs each cause of failure once. Never throws. */
  #logFailure(err: unknown, result: string): void {
    if (this.#causes.size >= LOGGED_CAUSES) return
    try {
      const text = err instanceof Error ? err.message : String(err)
      if (this.#causes.has(text)) return
      this.#causes.add(text)
      this.#logger.error({ err }, `the gate of a publisher failed, the message ${result}`)
    } catch {
      // A cause that cannot be read or a logger that throws must not stop a publisher.
    }
  }

  /** Returns the key that a rule counts a message under. Never throws. */
  keyOf(rule: string, message: Message): string | undefined {
    try {
      return this.#gate.keyOf(rule, message)
    } catch {
      return undefined
    }
  }
}

/** Blames the store only if it has no time limit. Because a store with a limit has answered before. */
function lateError(withinMs: number, storeMs: number | undefined): Error {
  const text = `no decision within ${withinMs} ms`
  return storeMs === undefined ? new StoreError(text) : new Error(text)
}
