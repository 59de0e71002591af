import type { Clock } from './clock.ts'
import { systemClock } from './clock.ts'
import type { Decision } from './decision.ts'
import { PASSED } from './decision.ts'
import type { Logger } from './logger.ts'
import type { MaybePromise, Message } from './message.ts'
import type { Hold, LaneHooks } from './outcomes/holding.ts'
import type { GuardOptions, GuardStats } from './outcomes/keeper.ts'
import { DENIED_BY_FALLBACK, Keeper } from './outcomes/keeper.ts'
import { Lane } from './outcomes/lane.ts'

export type { Ask, Enact, LaneHooks } from './outcomes/holding.ts'
export type { GuardOptions, GuardStats, Lane, Logger }

/** The part of a gate a guard stands before. */
export interface Decider {
  check(message: Message): MaybePromise<Decision>
  readonly clock?: Clock
  /** A rule's own bound on holding. */
  holdOf?(rule: string): Hold | undefined
}

/**
 * The one loop between a broker and the gate. It asks the gate about each message, holds what is throttled in its
 * sender's own order, asks again in time, keeps what is held within bounds, and answers for a gate that fails.
 * Nothing of it ever throws or rejects at the broker. A message that may pass at once costs no timer, promise or object.
 */
export class Guard {
  readonly clock: Clock
  readonly #decider: Decider
  readonly #keeper: Keeper

  constructor(decider: Decider, options: GuardOptions = {}) {
    this.#decider = decider
    this.clock = decider.clock ?? systemClock
    this.#keeper = new Keeper(
      message => this.ask(message),
      rule => decider.holdOf?.(rule),
      this.clock,
      options,
    )
  }

  /** A place for the messages of one sender: one per connection. */
  lane(hooks: LaneHooks = {}): Lane {
    return new Lane(this.#keeper, hooks)
  }

  /** The gate's decision; the fallback's when the gate throws, rejects or is late. Never throws, never rejects. */
  ask(message: Message): MaybePromise<Decision> {
    if (this.#keeper.closed) return DENIED_BY_FALLBACK
    try {
      const answer = this.#decider.check(message)
      return answer instanceof Promise ? this.#keeper.await(answer) : answer
    } catch (cause) {
      return this.#keeper.fall(cause)
    }
  }

  stats(): GuardStats {
    return this.#keeper.stats()
  }

  /**
   * Ends all waiting and refuses what comes afterwards. Held messages are let `pass` in order, or are forgotten:
   * `discard`, the default, acknowledges none of them, so that their senders may send them again elsewhere.
   */
  close(held: 'discard' | 'pass' = 'discard'): void {
    this.#keeper.close(held === 'pass' ? PASSED : undefined)
  }
}
