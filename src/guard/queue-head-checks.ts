import type { Decision } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { RuleInfoSource } from '../outcomes/rule-info.ts'
import type { Ask } from './guard-types.ts'
import type { PendingCheckLimiter } from './pending-check-limiter.ts'

/** Checks of messages at the head of a rule queue. */
export class QueueHeadChecks {
  readonly #checkLimiter: PendingCheckLimiter
  readonly #ruleLookup: RuleInfoSource
  /** Messages asked about in their turn, which must not wait behind themselves. */
  readonly #askedInTurn = new Set<Message>()
  /** False once the gate did not answer a peek at once. It is then not asked again. */
  #canPeek = true

  constructor(checkLimiter: PendingCheckLimiter, ruleLookup: RuleInfoSource) {
    this.#checkLimiter = checkLimiter
    this.#ruleLookup = ruleLookup
  }

  /** Returns true while a message is asked about in its turn. */
  isInTurn(message: Message): boolean {
    return this.#askedInTurn.has(message)
  }

  /** Asks about a message in its turn. `ask` replaces the gate's check. */
  ask(message: Message, ask: Ask<Message> | undefined): MaybePromise<Decision> {
    if (ask === undefined) return this.#checkLimiter.ask(message)
    this.#askedInTurn.add(message)
    const answer = ask(message)
    if (!isPromise(answer)) {
      this.#askedInTurn.delete(message)
      return answer
    }
    return answer.then(decision => {
      this.#askedInTurn.delete(message)
      return decision
    })
  }

  /** Returns the time for which `rule` alone refuses if it is known at once, else the decision's time. */
  ownWaitMs(rule: string, message: Message, decision: Decision): number {
    if (!this.#canPeek || this.#ruleLookup.peek === undefined) return decision.retryAfterMs
    try {
      const answers = this.#ruleLookup.peek(message)
      if (answers instanceof Promise) {
        this.#canPeek = false
        answers.catch(() => {})
        return decision.retryAfterMs
      }
      const own = answers.find(answer => answer.rule === rule)
      return own === undefined || own.allowed ? 0 : Math.min(own.retryAfterMs, decision.retryAfterMs)
    } catch {
      return decision.retryAfterMs
    }
  }
}
