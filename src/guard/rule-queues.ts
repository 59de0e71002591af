import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import { DEFAULT_LATEST_PLAN, DEFAULT_QUEUE } from '../outcomes/queue-plan.ts'
import type { RuleInfoSource } from '../outcomes/rule-info.ts'
import type { HoldBudget } from './hold-budget.ts'
import type { PendingCheckLimiter } from './pending-check-limiter.ts'
import { QueueHeadChecks } from './queue-head-checks.ts'
import { type QueueRequest, RuleQueue } from './rule-queue.ts'

/** Queues of all rules of a guard. */
export class RuleQueues {
  /** A field, because it is read for each message and the size of a map is three cache lines away. */
  #isEmpty = true
  readonly #holdBudget: HoldBudget
  readonly #checkLimiter: PendingCheckLimiter
  readonly #ruleLookup: RuleInfoSource
  readonly #queueHeadChecks: QueueHeadChecks
  readonly #holdsQueued: boolean
  /** Queues that hold messages, by rule. */
  readonly #queues = new Map<string, RuleQueue>()

  /** `holdsQueued` is false if decisions to queue a message are enacted like all others. */
  constructor(
    holdBudget: HoldBudget,
    checkLimiter: PendingCheckLimiter,
    ruleLookup: RuleInfoSource,
    holdsQueued: boolean,
  ) {
    this.#holdBudget = holdBudget
    this.#checkLimiter = checkLimiter
    this.#ruleLookup = ruleLookup
    this.#queueHeadChecks = new QueueHeadChecks(checkLimiter, ruleLookup)
    this.#holdsQueued = holdsQueued
  }

  /** True if messages may be added. Otherwise decisions to queue a message are enacted like all others. */
  get isOpen(): boolean {
    return this.#holdsQueued && !this.#holdBudget.isClosed
  }

  /** Returns the refusal of the queue that a message must wait in, else the gate's decision. Never throws or rejects. */
  ask(message: Message): MaybePromise<Decision> {
    return (this.#isEmpty ? undefined : this.#refusalAhead(message)) ?? this.#checkLimiter.ask(message)
  }

  /** Puts a message into the queue of its rule, or behind an older message. */
  enqueue(request: QueueRequest): void {
    const { after, decision, message } = request
    if (after !== undefined) after.ruleQueue.enqueue(after.subQueue.keyQueue.key, request)
    else {
      const { rule = '' } = decision
      const queue = this.#queues.get(rule) ?? this.#createQueue(rule, decision)
      queue.enqueue(this.#holdBudget.safeGate.keyOf(rule, message) ?? '', request)
    }
  }

  #createQueue(rule: string, { outcome }: Decision): RuleQueue {
    const plan =
      this.#ruleLookup.ruleOf?.(rule)?.exceeded.queue ??
      (outcome === 'latest' ? DEFAULT_LATEST_PLAN : DEFAULT_QUEUE)
    const created = new RuleQueue(rule, plan, this.#holdBudget, this.#queueHeadChecks, () => {
      if (this.#queues.get(rule) === created) this.#queues.delete(rule)
      this.#isEmpty = this.#queues.size === 0
    })
    this.#queues.set(rule, created)
    this.#isEmpty = false
    return created
  }

  /** Returns the refusal for a message that must wait behind others of its rule and key. */
  #refusalAhead(message: Message): Decision | undefined {
    if (this.#queueHeadChecks.isInTurn(message)) return undefined
    for (const queue of this.#queues.values()) {
      const key = this.#holdBudget.safeGate.keyOf(queue.rule, message)
      const keyQueue = key === undefined ? undefined : queue.keyQueues.get(key)
      if (keyQueue !== undefined) return keyQueue.refusal
    }
    return undefined
  }
}
