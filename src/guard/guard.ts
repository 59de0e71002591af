import type { Clock } from '../core/clock.ts'
import { systemClock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { PASSED } from '../core/decision.ts'
import type { Logger } from '../core/logger.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import { checkOptionNames } from '../core/option-names.ts'
import type { RuleLookup } from '../outcomes/rule-info.ts'
import { CheckLimiter } from './check-limiter.ts'
import type { BoundedStore, GuardOptions, GuardStats } from './hold-budget.ts'
import { DENIED_BY_FALLBACK, GUARD_OPTIONS, GUARD_REMEDIES, HoldBudget } from './hold-budget.ts'
import { OutcomeResolver } from './resolve-outcome.ts'
import { RuleQueues } from './rule-queues.ts'
import { SenderQueue } from './sender-queue.ts'
import type { SenderQueueHooks, SenderQueueOptions } from './types.ts'

export { GUARD_OPTIONS, GUARD_REMEDIES } from './hold-budget.ts'
export type { Ask, Enact, SenderQueueHooks, SenderQueueOptions } from './types.ts'
export type { GuardOptions, GuardStats, Logger, SenderQueue }

/** Part of a gate that a guard uses. */
export interface Decider extends RuleLookup {
  check(message: Message): MaybePromise<Decision>
  readonly clock?: Clock | undefined
  /** Store behind the decisions. It may have a time limit of its own. */
  readonly store?: BoundedStore | undefined
}

/** Time for a decision beyond the store's time limit, for custom middleware and tier look-ups. */
const BEYOND_STORE_MS = 1_000

/**
 * Connects a broker to the gate. Asks the gate about each message and enacts the decision.
 * Holds throttled messages in the order of their sender, and queued messages in the order of their rule.
 * Keeps held messages within bounds, and applies the fallback if the gate fails.
 * Never throws or rejects. A message that passes at once costs no timer, promise or object.
 */
export class Guard {
  readonly clock: Clock
  readonly #decider: Decider
  /** Copy of the flag in the hold budget. Because it is read for each message, it saves a cache line. */
  #closed = false
  readonly #holdBudget: HoldBudget
  readonly #ruleQueues: RuleQueues
  readonly #outcomeResolver: OutcomeResolver
  readonly #checks = new CheckLimiter(message => this.#askGate(message))

  constructor(decider: Decider, options: GuardOptions = {}) {
    checkOptionNames(options, GUARD_OPTIONS, '', GUARD_REMEDIES)
    this.#decider = decider
    this.clock = decider.clock ?? systemClock
    const decideTimeoutMs = options.decideTimeoutMs ?? BEYOND_STORE_MS + (decider.store?.answersWithinMs ?? 0)
    this.#holdBudget = new HoldBudget(
      message => this.ask(message),
      decider,
      request => this.#ruleQueues.enqueue(request),
      this.clock,
      { ...options, decideTimeoutMs, store: decider.store },
    )
    this.#ruleQueues = new RuleQueues(this.#holdBudget, decider, message => this.#askGate(message))
    this.#outcomeResolver = new OutcomeResolver(decider, this.#holdBudget)
  }

  /** Creates a queue for the messages of one sender. It may serve several connections in succession. */
  senderQueue(hooks: SenderQueueHooks = {}, options: SenderQueueOptions = {}): SenderQueue {
    return new SenderQueue(this.#holdBudget, hooks, options)
  }

  /**
   * Returns the gate's decision, or the fallback's if the gate throws, rejects or is late. A message behind others in
   * a rule's queue waits without asking the gate. Never throws or rejects.
   */
  ask(message: Message): MaybePromise<Decision> {
    if (!this.#ruleQueues.isEmpty) {
      const refusal = this.#ruleQueues.refusalAhead(message)
      if (refusal !== undefined) return refusal
    }
    return this.#askGate(message)
  }

  #askGate(message: Message): MaybePromise<Decision> {
    if (this.#closed) return DENIED_BY_FALLBACK
    if (this.#checks.isFull) {
      const queued = this.#checks.enqueue(message)
      if (queued !== undefined) return queued
    }
    try {
      const answer = this.#decider.check(message)
      // The most frequent case first: a promise has no outcome.
      if ((answer as Decision).outcome === 'deliver') return answer
      if (answer instanceof Promise) {
        const decided = this.#checks.track(this.#holdBudget.awaitDecision(answer, message))
        return decided.then(decision => this.#outcomeResolver.resolve(decision, message))
      }
      return this.#outcomeResolver.resolve(answer, message)
    } catch (cause) {
      return this.#holdBudget.applyFallback(cause)
    }
  }

  stats(): GuardStats {
    return this.#holdBudget.stats()
  }

  /**
   * Stops waiting and refuses later messages. `pass` lets held messages pass in order. `discard`, the default, drops
   * them without an acknowledgement, so that senders may send them again elsewhere.
   */
  close(held: 'discard' | 'pass' = 'discard'): void {
    this.#closed = true
    this.#checks.close(DENIED_BY_FALLBACK)
    this.#holdBudget.close(held === 'pass' ? PASSED : undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }
}
