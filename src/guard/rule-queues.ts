import type { Decision } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import { DEFAULT_LATEST, DEFAULT_QUEUE } from '../outcomes/queue-plan.ts'
import type { RuleLookup } from '../outcomes/rule-info.ts'
import { RuleQueue, type RuleQueueHost } from './rule-queue.ts'
import type { QueuedItem } from './sub-queue.ts'
import type { QueueRequest, SenderQueueBudget } from './types.ts'

/** Queues of all rules of a guard. */
export class RuleQueues implements RuleQueueHost {
  /** A field, because it is read for each message and the size of a map is three cache lines away. */
  isEmpty = true
  readonly holdBudget: SenderQueueBudget
  readonly #ruleLookup: RuleLookup
  readonly #askGate: (message: Message) => MaybePromise<Decision>
  /** Queues that hold messages, by rule. */
  readonly #queues = new Map<string, RuleQueue>()
  /** Messages asked about in their turn, which must not wait behind themselves. */
  readonly #askedInTurn = new Set<Message>()
  /** False once the gate did not answer a peek at once. It is then not asked again. */
  #canPeek = true

  constructor(
    holdBudget: SenderQueueBudget,
    ruleLookup: RuleLookup,
    askGate: (message: Message) => MaybePromise<Decision>,
  ) {
    this.holdBudget = holdBudget
    this.#ruleLookup = ruleLookup
    this.#askGate = askGate
  }

  /** Returns the refusal for a message that must wait behind others of its rule and key, or undefined if it need not. */
  refusalAhead(message: Message): Decision | undefined {
    if (this.#askedInTurn.has(message)) return undefined
    for (const queue of this.#queues.values()) {
      const key = this.#keyOf(queue.rule, message)
      const keyQueue = key === undefined ? undefined : queue.keyQueues.get(key)
      if (keyQueue !== undefined) return keyQueue.refusal
    }
    return undefined
  }

  enqueue(request: QueueRequest): void {
    const { after } = request
    if (after !== undefined) {
      const { keyQueue } = after.subQueue
      keyQueue.ruleQueue.enqueue(keyQueue.key, request)
      return
    }
    const { rule = '', outcome } = request.decision
    const defaultPlan = outcome === 'latest' ? DEFAULT_LATEST : DEFAULT_QUEUE
    let queue = this.#queues.get(rule)
    if (queue === undefined) {
      const plan = this.#ruleLookup.ruleOf?.(rule)?.exceeded.queue ?? defaultPlan
      queue = new RuleQueue(rule, plan, this)
      this.#queues.set(rule, queue)
      this.isEmpty = false
    }
    queue.enqueue(this.#keyOf(rule, request.message) ?? '', request)
  }

  askAgain({ message, ask }: QueuedItem): MaybePromise<Decision> {
    if (ask === undefined) return this.#askGate(message)
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

  removeEmpty(queue: RuleQueue): void {
    if (this.#queues.get(queue.rule) === queue) this.#queues.delete(queue.rule)
    this.isEmpty = this.#queues.size === 0
  }

  #keyOf(rule: string, message: Message): string | undefined {
    try {
      return this.#ruleLookup.keyOf?.(rule, message)
    } catch {
      return undefined
    }
  }
}
