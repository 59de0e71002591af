import { type Clock, callIfLate } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { StoreError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { RuleInfoSource } from '../outcomes/rule-info.ts'

/** Part of a gate that guards and publishers use. */
export interface Decider extends RuleInfoSource {
  check(message: Message): MaybePromise<Decision>
  readonly clock?: Clock | undefined
  /** Store behind the decisions. It may have a time limit of its own. */
  readonly store?: GuardStore | undefined
}

/** Part of a store that a guard or publisher uses. */
export interface GuardStore {
  /** Longest time a decision takes, or undefined if the store has no limit. */
  readonly answersWithinMs?: number | undefined
  /** Name of the store's fallback. */
  readonly fallback?: string | undefined
}

export const ALLOWED_BY_FALLBACK: Decision = Object.freeze({
  allowed: true,
  outcome: 'deliver',
  reason: 'store_unavailable',
  retryAfterMs: 0,
  fallback: true,
})
export const DENIED_BY_FALLBACK: Decision = Object.freeze({
  allowed: false,
  outcome: 'reject',
  reason: 'store_unavailable',
  retryAfterMs: 1_000,
  fallback: true,
})

/** Time for a decision beyond the store's time limit, for custom middleware and tier look-ups. */
const BEYOND_STORE_MS = 1_000

/** Most causes of failure that are logged, once each. Later causes are only counted. */
const LOGGED_CAUSES = 32

export interface SafeGateOptions {
  readonly clock: Clock
  /** Longest wait for an answer. Default: 1,000 more than the time limit of the store. */
  readonly timeoutMs?: number | undefined
  /** Decision if something other than the store fails or is late. */
  readonly middlewareFallback: 'allow' | 'deny'
  readonly logger: Logger | undefined
  /** Log text of a failure. Default: gate failed, the fallback answers. */
  readonly failureText?: string | undefined
}

/**
 * Gate whose methods never throw or reject. If the gate fails or is late, a fallback decides: the store's if the store
 * failed, else the one of the options.
 */
export class SafeGate {
  /** Decisions of the fallback, and those of them caused by a late answer. */
  fallbacks = 0
  timeouts = 0
  readonly #gate: Decider
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #fallback: Decision
  readonly #logger: Logger | undefined
  readonly #failureText: string
  readonly #causes = new Set<string>()

  constructor(gate: Decider, options: SafeGateOptions) {
    this.#gate = gate
    this.#clock = options.clock
    this.#timeoutMs = options.timeoutMs ?? BEYOND_STORE_MS + (gate.store?.answersWithinMs ?? 0)
    this.#fallback = options.middlewareFallback === 'deny' ? DENIED_BY_FALLBACK : ALLOWED_BY_FALLBACK
    this.#logger = options.logger
    this.#failureText = options.failureText ?? 'gate failed, the fallback answers'
  }

  /** Returns the gate's decision, or the fallback's if the gate throws, rejects or is late. */
  ask(message: Message): MaybePromise<Decision> {
    try {
      const answer = this.#gate.check(message)
      return answer instanceof Promise ? this.awaitDecision(answer, message) : answer
    } catch (cause) {
      return this.applyFallback(cause)
    }
  }

  /** Returns an answer, or the fallback's decision if it fails or is late. A later answer is ignored. */
  awaitDecision(answer: Promise<Decision>, message: Message): Promise<Decision> {
    return this.withTimeout(answer, cause => {
      this.forgetPayload(message)
      return this.applyFallback(cause)
    })
  }

  /** Returns the key that a rule counts a message under, or undefined if it does not or the gate fails. */
  keyOf(rule: string, message: Message): string | undefined {
    try {
      return this.#gate.keyOf?.(rule, message)
    } catch {
      return undefined
    }
  }

  /** Reports that a message may not be delivered, whatever the gate has decided or will decide. */
  forgetPayload(message: Message): void {
    try {
      this.#gate.forgetPayload?.(message)
    } catch (cause) {
      this.logFailure(cause)
    }
  }

  /** Returns the answer, or the result of `otherwise` if it fails or exceeds the time limit. */
  withTimeout<T>(answer: Promise<T>, otherwise: (cause: unknown) => T): Promise<T> {
    return new Promise(resolve => {
      const cancel = callIfLate(this.#clock, this.#timeoutMs, () => {
        this.timeouts++
        resolve(otherwise(this.#lateError()))
      })
      answer.then(
        value => {
          cancel()
          resolve(value)
        },
        (cause: unknown) => {
          cancel()
          resolve(otherwise(cause))
        },
      )
    })
  }

  /** Logs each cause of failure once. */
  logFailure(cause: unknown, fallback = this.#fallback): void {
    if (this.#logger === undefined || this.#causes.size >= LOGGED_CAUSES) return
    try {
      const text = cause instanceof Error ? cause.message : String(cause)
      if (this.#causes.has(text)) return
      this.#causes.add(text)
      this.#logger.error({ err: cause, fallback: fallback.outcome }, this.#failureText)
    } catch {
      // A cause that cannot be read or a logger that throws must not stop a broker.
    }
  }

  /** Returns the fallback's decision: the store's if the store failed. A store that could only count refuses. */
  applyFallback(cause: unknown): Decision {
    const fallback = cause instanceof StoreError ? this.#storeFallback() : this.#fallback
    this.fallbacks++
    this.logFailure(cause, fallback)
    return fallback
  }

  #storeFallback(): Decision {
    return this.#gate.store?.fallback === 'allow' ? ALLOWED_BY_FALLBACK : DENIED_BY_FALLBACK
  }

  /** Blames the store if it has no time limit, or one as long as this one. */
  #lateError(): Error {
    const text = `no answer within ${this.#timeoutMs} ms`
    const { store } = this.#gate
    const isOfStore = store !== undefined && (store.answersWithinMs ?? Infinity) >= this.#timeoutMs
    return isOfStore ? new StoreError(text) : new Error(text)
  }
}
