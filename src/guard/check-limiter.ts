import type { Decision } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MaybePromise, Message } from '../core/message.ts'

interface WaitingCheck {
  readonly message: Message
  readonly resolve: (decision: MaybePromise<Decision>) => void
}

/**
 * Limits the checks of one guard that wait for the store. Why: if a store cannot keep up with a flood, every check
 * would time out although the store works.
 */
export class CheckLimiter {
  readonly #check: (message: Message) => MaybePromise<Decision>
  /** Checks in progress. */
  #count = 0
  #waiting: WaitingCheck[] = []
  #first = 0

  constructor(check: (message: Message) => MaybePromise<Decision>) {
    this.#check = check
  }

  get isFull(): boolean {
    return this.#count >= MAX_SIZES.concurrentChecks
  }

  /** Number of messages that wait for a check. */
  get waiting(): number {
    return this.#waiting.length - this.#first
  }

  /** Checks a message when fewer checks are in progress. Returns undefined if too many messages wait. */
  enqueue(message: Message): Promise<Decision> | undefined {
    if (this.waiting >= MAX_SIZES.queuedChecks) return undefined
    return new Promise(resolve => this.#waiting.push({ message, resolve }))
  }

  /** Counts a check until its answer, which must not reject. */
  track<T>(answer: Promise<T>): Promise<T> {
    this.#count++
    return answer.then(decision => {
      this.#count--
      if (this.waiting > 0) this.#checkWaiting()
      return decision
    })
  }

  /** Resolves all waiting checks with `decision`. */
  close(decision: Decision): void {
    for (const { resolve } of this.#waiting.splice(0).slice(this.#first)) resolve(decision)
    this.#first = 0
  }

  #checkWaiting(): void {
    while (!this.isFull && this.waiting > 0) {
      const { message, resolve } = this.#waiting[this.#first]!
      this.#first++
      if (2 * this.#first > this.#waiting.length) {
        this.#waiting = this.#waiting.slice(this.#first)
        this.#first = 0
      }
      resolve(this.#check(message))
    }
  }
}
