import type { Decision } from '../core/decision.ts'
import { type Linked, LinkedList } from '../core/linked-list.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MaybePromise, Message } from '../core/message.ts'

interface WaitingCheck extends Linked<WaitingCheck> {
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
  readonly #waiting = new LinkedList<WaitingCheck>()

  constructor(check: (message: Message) => MaybePromise<Decision>) {
    this.#check = check
  }

  get isFull(): boolean {
    return this.#count >= MAX_SIZES.concurrentChecks
  }

  /** Checks a message when fewer checks are in progress. Returns undefined if too many messages wait. */
  enqueue(message: Message): Promise<Decision> | undefined {
    if (this.#waiting.count >= MAX_SIZES.queuedChecks) return undefined
    return new Promise(resolve =>
      this.#waiting.append({ message, resolve, previous: undefined, next: undefined }),
    )
  }

  /** Counts a check until its answer, which must not reject. */
  track<T>(answer: Promise<T>): Promise<T> {
    this.#count++
    return answer.then(decision => {
      this.#count--
      this.#checkWaiting()
      return decision
    })
  }

  /** Resolves all waiting checks with `decision`. */
  close(decision: Decision): void {
    for (let waiting = this.#waiting.first; waiting; waiting = this.#waiting.first) {
      this.#waiting.remove(waiting)
      waiting.resolve(decision)
    }
  }

  #checkWaiting(): void {
    for (let waiting = this.#waiting.first; waiting && !this.isFull; waiting = this.#waiting.first) {
      this.#waiting.remove(waiting)
      waiting.resolve(this.#check(waiting.message))
    }
  }
}
