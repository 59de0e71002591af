import type { Decision } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import { DEFAULT_LATEST, DEFAULT_QUEUE } from '../outcomes/queue-plan.ts'
import type { RuleLookup } from '../outcomes/rule-info.ts'
import { type QueueHost, RuleQueue } from './rule-queue.ts'
import type { QueuedItem } from './sub-queue.ts'
import type { SenderQueueBudget, ToQueue } from './types.ts'

/** All that the rules of a guard queue, and who has to wait behind it. */
export class RuleQueues implements QueueHost {
  /** Asked for each message, so it is a field: the size of a map is three cache lines away. */
  isEmpty = true
  readonly holdBudget: SenderQueueBudget
  readonly #book: RuleLookup
  readonly #askGate: (message: Message) => MaybePromise<Decision>
  /** Those that hold something, by rule. */
  readonly #queues = new Map<string, RuleQueue>()
  /** Messages asked about in their turn, which must not wait behind themselves. */
  readonly #inTurn = new Set<Message>()
  /** Whether a gate answers at once what each rule says; asked in vain it is not asked again. */
  #peeks = true

  constructor(
    holdBudget: SenderQueueBudget,
    book: RuleLookup,
    askGate: (message: Message) => MaybePromise<Decision>,
  ) {
    this.holdBudget = holdBudget
    this.#book = book
    this.#askGate = askGate
  }

  /** What a message is told that has to wait behind others of its rule and key; undefined where it need not. */
  behind(message: Message): Decision | undefined {
    if (this.#inTurn.has(message)) return undefined
    for (const queue of this.#queues.values()) {
      const key = this.#keyOf(queue.rule, message)
      const keyQueue = key === undefined ? undefined : queue.keyQueues.get(key)
      if (keyQueue !== undefined) return keyQueue.refusal
    }
    return undefined
  }

  park(arrived: ToQueue): void {
    const { after } = arrived
    if (after !== undefined) {
      const { keyQueue } = after.flow
      keyQueue.queue.park(keyQueue.key, arrived)
      return
    }
    const { rule = '', outcome } = arrived.decision
    const byDefault = outcome === 'latest' ? DEFAULT_LATEST : DEFAULT_QUEUE
    let queue = this.#queues.get(rule)
    if (queue === undefined) {
      const plan = this.#book.ruleOf?.(rule)?.exceeded.queue ?? byDefault
      queue = new RuleQueue(rule, plan, this)
      this.#queues.set(rule, queue)
      this.isEmpty = false
    }
    queue.park(this.#keyOf(rule, arrived.message) ?? '', arrived)
  }

  askAgain({ message, ask }: QueuedItem): MaybePromise<Decision> {
    if (ask === undefined) return this.#askGate(message)
    this.#inTurn.add(message)
    const answer = ask(message)
    if (!isPromise(answer)) {
      this.#inTurn.delete(message)
      return answer
    }
    return answer.then(decision => {
      this.#inTurn.delete(message)
      return decision
    })
  }

  ownWaitMs(rule: string, message: Message, decision: Decision): number {
    if (!this.#peeks || this.#book.peek === undefined) return decision.retryAfterMs
    try {
      const answers = this.#book.peek(message)
      if (answers instanceof Promise) {
        this.#peeks = false
        answers.catch(() => {})
        return decision.retryAfterMs
      }
      const own = answers.find(answer => answer.rule === rule)
      return own === undefined || own.allowed ? 0 : Math.min(own.retryAfterMs, decision.retryAfterMs)
    } catch {
      return decision.retryAfterMs
    }
  }

  emptied(queue: RuleQueue): void {
    if (this.#queues.get(queue.rule) === queue) this.#queues.delete(queue.rule)
    this.isEmpty = this.#queues.size === 0
  }

  #keyOf(rule: string, message: Message): string | undefined {
    try {
      return this.#book.keyOf?.(rule, message)
    } catch {
      return undefined
    }
  }
}
