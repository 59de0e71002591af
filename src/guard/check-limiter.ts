import type { Decision } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MaybePromise, Message } from '../core/message.ts'

interface WaitingCheck {
  readonly message: Message
  readonly resolve: (decision: MaybePromise<Decision>) => void
}

/**
 * Bounds the checks of one guard whose answers come later. Why: of a flood that a store cannot decide in time, every
 * message would otherwise be late, though the store is well.
 */
export class CheckLimiter {
  readonly #check: (message: Message) => MaybePromise<Decision>
  /** Checks under way. */
  #count = 0
  #waiting: WaitingCheck[] = []
  #first = 0

  constructor(check: (message: Message) => MaybePromise<Decision>) {
    this.#check = check
  }

  get isFull(): boolean {
    return this.#count >= MAX_SIZES.checksUnderWay
  }

  /** Messages that wait for a check. */
  get waiting(): number {
    return this.#waiting.length - this.#first
  }

  /** Checks a message once fewer checks are under way; undefined if too many messages wait for that. */
  enqueue(message: Message): Promise<Decision> | undefined {
    if (this.waiting >= MAX_SIZES.waitingForCheck) return undefined
    return new Promise(resolve => this.#waiting.push({ message, resolve }))
  }

  /** Counts a check until it is answered. The answer must not reject. */
  count<T>(answer: Promise<T>): Promise<T> {
    this.#count++
    return answer.then(decision => {
      this.#count--
      if (this.waiting > 0) this.#next()
      return decision
    })
  }

  /** Answers all that wait. */
  close(decision: Decision): void {
    for (const { resolve } of this.#waiting.splice(0).slice(this.#first)) resolve(decision)
    this.#first = 0
  }

  #next(): void {
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
