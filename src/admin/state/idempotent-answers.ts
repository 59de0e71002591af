import { createHash } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { AdminProblem } from '../problem.ts'
import type { RouteAnswer } from '../route-answer.ts'

const KEPT_MS = 600_000
const KEY_CHARS = 512

interface Remembered {
  readonly bodyHash: string
  readonly atMs: number
  readonly answer: Promise<RouteAnswer>
}

/** Answers to requests with an Idempotency-Key: a repeated request gets the first answer, for ten minutes. */
export class IdempotentAnswers {
  readonly #clock: Clock
  /** In the order of their first request. */
  readonly #answers = new Map<string, Remembered>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Returns the answer to the first request of a key, or calls `answer`. A refused request is not remembered. Throws
   * AdminProblem if a key is too long (400) or comes with another body (422).
   */
  answerOnce(key: string, body: unknown, answer: () => Promise<RouteAnswer>): Promise<RouteAnswer> {
    if (key.length > KEY_CHARS) throw new AdminProblem(400, 'the Idempotency-Key is too long')
    const nowMs = this.#clock.now()
    const bodyHash = createHash('sha256')
      .update(JSON.stringify(body) ?? '')
      .digest('base64')
    const known = this.#answers.get(key)
    if (known !== undefined && nowMs - known.atMs < KEPT_MS) {
      if (known.bodyHash === bodyHash) return known.answer
      throw new AdminProblem(422, 'this Idempotency-Key was used with another body')
    }
    this.#answers.delete(key)
    this.#makeRoom(nowMs)
    const remembered = { bodyHash, atMs: nowMs, answer: answer() }
    this.#answers.set(key, remembered)
    remembered.answer.then(
      given => {
        // Large answers are those of routes that change nothing.
        if (given instanceof Response || sizeOf(given) > MAX_SIZES.adminIdempotentAnswerChars)
          this.#answers.delete(key)
      },
      () => this.#answers.delete(key),
    )
    return remembered.answer
  }

  #makeRoom(nowMs: number): void {
    for (const [key, { atMs }] of this.#answers) {
      if (this.#answers.size < MAX_SIZES.adminIdempotentAnswers && nowMs - atMs < KEPT_MS) return
      this.#answers.delete(key)
    }
  }
}

function sizeOf({ body }: Exclude<RouteAnswer, Response>): number {
  return body === undefined ? 0 : JSON.stringify(body).length
}
