import { type Clock, systemClock } from '../core/clock.ts'
import { type Decision, PASSED } from '../core/decision.ts'
import type { Logger } from '../core/logger.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import { checkOptionNames } from '../core/option-names.ts'
import type { SenderQueueHooks, SenderQueueOptions } from './guard-types.ts'
import { type GuardStats, HoldBudget } from './hold-budget.ts'
import { checkPositive, GUARD_OPTIONS, type GuardOptions, RENAMED_GUARD_OPTIONS } from './options.ts'
import { OutcomeResolver } from './outcome-resolver.ts'
import { PendingCheckLimiter } from './pending-check-limiter.ts'
import { RuleQueues } from './rule-queues.ts'
import { type Decider, SafeGate } from './safe-gate.ts'
import { SenderQueue } from './sender-queue.ts'

export type { Ask, Enact, SenderQueueHooks, SenderQueueOptions } from './guard-types.ts'
export { GUARD_OPTIONS, RENAMED_GUARD_OPTIONS } from './options.ts'
export type { Decider, GuardOptions, GuardStats, Logger, SenderQueue }

/**
 * Connects a broker to the gate. Asks the gate about each message and enacts the decision.
 * Holds throttled messages in the order of their sender, and queued messages in the order of their rule.
 * Keeps held messages within bounds, and applies the fallback if the gate fails.
 * Never throws or rejects. A message that passes at once costs no timer, promise or object.
 */
export class Guard {
  readonly clock: Clock
  readonly #checkLimiter: PendingCheckLimiter
  readonly #holdBudget: HoldBudget
  readonly #ruleQueues: RuleQueues

  constructor(decider: Decider, options: GuardOptions = {}) {
    checkOptionNames(options, GUARD_OPTIONS, '', RENAMED_GUARD_OPTIONS)
    const { decideTimeoutMs, middlewareFallback = 'allow', holds, logger } = options
    this.clock = decider.clock ?? systemClock
    const timeoutMs =
      decideTimeoutMs === undefined ? undefined : checkPositive('decideTimeoutMs', decideTimeoutMs)
    const safeGate = new SafeGate(decider, { clock: this.clock, timeoutMs, middlewareFallback, logger })
    this.#checkLimiter = new PendingCheckLimiter(decider, safeGate, new OutcomeResolver(decider, safeGate))
    this.#holdBudget = new HoldBudget(decider, safeGate, this.clock, options)
    this.#ruleQueues = new RuleQueues(this.#holdBudget, this.#checkLimiter, decider, holds === 'all')
  }

  /** Creates a queue for the messages of one sender. It may serve several connections in succession. */
  senderQueue(hooks: SenderQueueHooks = {}, options: SenderQueueOptions = {}): SenderQueue {
    return new SenderQueue(this.#holdBudget, this.#ruleQueues, hooks, options)
  }

  /**
   * Returns the gate's decision, or the fallback's if the gate throws, rejects or is late. A message behind others in
   * a rule's queue waits without asking the gate. Never throws or rejects.
   */
  ask(message: Message): MaybePromise<Decision> {
    return this.#ruleQueues.ask(message)
  }

  stats(): GuardStats {
    return this.#holdBudget.stats()
  }

  /**
   * Stops waiting and refuses later messages. `pass` lets held messages pass in order. `discard`, the default, drops
   * them without an acknowledgement, so that senders may send them again elsewhere.
   */
  close(held: 'discard' | 'pass' = 'discard'): void {
    this.#checkLimiter.close()
    this.#holdBudget.close(held === 'pass' ? PASSED : undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }
}
