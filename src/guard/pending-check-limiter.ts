import type { Decision } from '../core/decision.ts'
import { type Linked, LinkedList } from '../core/linked-list.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { OutcomeResolver } from './outcome-resolver.ts'
import { DENIED_BY_FALLBACK, type Decider, type SafeGate } from './safe-gate.ts'

interface WaitingCheck extends Linked<WaitingCheck> {
  readonly message: Message
  readonly resolve: (decision: MaybePromise<Decision>) => void
}

/**
 * Asks the gate for decisions to enact, and limits the checks that wait for the store. Why: if a store cannot keep up
 * with a flood, every check would time out although the store works.
 */
export class PendingCheckLimiter {
  readonly #gate: Decider
  readonly #safeGate: SafeGate
  readonly #outcomeResolver: OutcomeResolver
  /** Checks in progress. Infinity once it is closed, so that one comparison covers both. */
  #count = 0
  readonly #waiting = new LinkedList<WaitingCheck>()

  constructor(gate: Decider, safeGate: SafeGate, outcomeResolver: OutcomeResolver) {
    this.#gate = gate
    this.#safeGate = safeGate
    this.#outcomeResolver = outcomeResolver
  }

  /** Returns a decision, which waits if too many checks are in progress. Never throws or rejects. */
  ask(message: Message): MaybePromise<Decision> {
    if (this.#count >= MAX_SIZES.concurrentChecks) {
      if (this.#count === Infinity) return DENIED_BY_FALLBACK
      if (this.#waiting.count < MAX_SIZES.queuedChecks) return this.#enqueue(message)
    }
    try {
      // Not through the safe gate: one call less for each message.
      const answer = this.#gate.check(message)
      // The most frequent case first: a promise has no outcome.
      if ((answer as Decision).outcome === 'deliver') return answer
      return answer instanceof Promise
        ? this.#track(this.#safeGate.awaitDecision(answer, message), message)
        : this.#outcomeResolver.resolve(answer, message)
    } catch (cause) {
      return this.#safeGate.applyFallback(cause)
    }
  }

  #enqueue(message: Message): Promise<Decision> {
    return new Promise(resolve =>
      this.#waiting.append({ message, resolve, previous: undefined, next: undefined }),
    )
  }

  #track(answer: Promise<Decision>, message: Message): Promise<Decision> {
    this.#count++
    return answer.then(decision => {
      this.#count--
      this.#checkWaiting()
      return this.#outcomeResolver.resolve(decision, message)
    })
  }

  /** Refuses all waiting and later messages. */
  close(): void {
    this.#count = Infinity
    for (let waiting = this.#waiting.first; waiting; waiting = this.#waiting.first) {
      this.#waiting.remove(waiting)
      waiting.resolve(DENIED_BY_FALLBACK)
    }
  }

  #checkWaiting(): void {
    for (let waiting = this.#waiting.first; waiting; waiting = this.#waiting.first) {
      if (this.#count >= MAX_SIZES.concurrentChecks) return
      this.#waiting.remove(waiting)
      waiting.resolve(this.ask(waiting.message))
    }
  }
}
