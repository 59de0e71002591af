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

/** The part of a gate a guard stands before. */
export interface Decider extends RuleLookup {
  check(message: Message): MaybePromise<Decision>
  readonly clock?: Clock | undefined
  /** Where decisions come from, which may see to it by itself that they come in time. */
  readonly store?: BoundedStore | undefined
}

/** What a decision may take beyond what its store may: middleware of the user's own, a look for a tier. */
const BEYOND_STORE_MS = 1_000

/**
 * The one loop between a broker and the gate. It asks the gate about each message, holds what is throttled in its
 * sender's own order and what a rule queues in the rule's, asks again in time, keeps what is held within bounds, and answers for a gate that fails.
 * Nothing of it ever throws or rejects at the broker. A message that may pass at once costs no timer, promise or object.
 */
export class Guard {
  readonly clock: Clock
  readonly #decider: Decider
  /** The keeper knows it too, a cache line further away: it is asked for each message. */
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
      ruleQueues => this.#ruleQueues.park(ruleQueues),
      this.clock,
      { ...options, decideTimeoutMs, store: decider.store },
    )
    this.#ruleQueues = new RuleQueues(this.#holdBudget, decider, message => this.#askGate(message))
    this.#outcomeResolver = new OutcomeResolver(decider, this.#holdBudget)
  }

  /** Makes a queue for the messages of one sender; it may serve connections one after another. */
  senderQueue(hooks: SenderQueueHooks = {}, options: SenderQueueOptions = {}): SenderQueue {
    return new SenderQueue(this.#holdBudget, hooks, options)
  }

  /**
   * The gate's decision; the fallback's when the gate throws, rejects or is late. What its rule queues already is
   * waited behind, without asking. Never throws, never rejects.
   */
  ask(message: Message): MaybePromise<Decision> {
    if (!this.#ruleQueues.isEmpty) {
      const waits = this.#ruleQueues.behind(message)
      if (waits !== undefined) return waits
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
      // The likely case first: a promise has no outcome.
      if ((answer as Decision).outcome === 'deliver') return answer
      if (answer instanceof Promise) {
        const decided = this.#checks.count(this.#holdBudget.await(answer))
        return decided.then(decision => this.#outcomeResolver.refine(decision, message))
      }
      return this.#outcomeResolver.refine(answer, message)
    } catch (cause) {
      return this.#holdBudget.fall(cause)
    }
  }

  stats(): GuardStats {
    return this.#holdBudget.stats()
  }

  /**
   * Ends all waiting and refuses what comes afterwards. Held messages are let `pass` in order, or are forgotten:
   * `discard`, the default, acknowledges none of them, so that their senders may send them again elsewhere.
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
