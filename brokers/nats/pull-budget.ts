import { afterAwaited, type Clock } from '../../src/core/clock.ts'
import type { Message } from '../../src/core/message.ts'
import { createSender, type Gate } from '../../src/index.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'

/** How long is waited at once: the policy may change meanwhile, and the intake be stopped. */
const LONGEST_WAIT_MS = 1_000

/** Stands for any token in the subject that is asked about. */
const ANY = '_'

/**
 * What may be pulled, where limits are those of a whole consumer: rules `per: global` that each of its messages meets
 * and that hold or send back. Asked before the pull, no message comes before it may pass, so none is delivered twice.
 * Nothing is charged: that is done when a message has come.
 */
export class PullBudget {
  readonly #gate: Gate
  readonly #clock: Clock
  readonly #probe: Message
  readonly #whole: boolean

  constructor(gate: Gate, clock: Clock, subjects: readonly string[] | undefined) {
    this.#gate = gate
    this.#clock = clock
    this.#whole = subjects === undefined
    const topic = (subjects?.[0] ?? ANY).replace(/[*>]/g, ANY)
    this.#probe = { topic, on: 'publish', sender: createSender({}), size: 0, protocol: 'nats' }
  }

  /** Rules that are the whole consumer's, by the policy in force. */
  rules(): ReadonlySet<string> {
    const outcomes = this.#gate.outcomes('publish')
    const names = [...(outcomes.get('throttle') ?? []), ...(outcomes.get('retry') ?? [])]
    return new Set(names.filter(name => this.#isWhole(this.#gate.ruleOf(name))))
  }

  #isWhole(facts: RuleInfo | undefined): boolean {
    if (facts === undefined || facts.isSelective || facts.per.some(scope => scope !== 'global')) return false
    return facts.pattern === undefined || facts.pattern === '>' || !this.#whole
  }

  /** How many messages may be pulled now, from 0 to `most`, and how long to wait where none may. */
  async ask(most: number): Promise<{ readonly room: number; readonly waitMs: number }> {
    const rules = this.rules()
    if (rules.size === 0) return { room: most, waitMs: 0 }
    let room = most
    let waitMs = 0
    for (const { rule, allowed, remaining, retryAfterMs } of await this.#gate.peek(this.#probe)) {
      if (rule === undefined || !rules.has(rule)) continue
      if (!allowed) waitMs = Math.max(waitMs, retryAfterMs)
      else room = Math.min(room, Math.max(1, remaining ?? most))
    }
    return waitMs > 0 ? { room: 0, waitMs } : { room, waitMs: 0 }
  }

  /** Waits until something may be pulled; 0 when `isOver` says so before. */
  async wait(most: number, isOver: () => boolean): Promise<number> {
    while (!isOver()) {
      const { room, waitMs } = await this.ask(most)
      if (room > 0) return room
      await pause(this.#clock, Math.min(waitMs, LONGEST_WAIT_MS))
    }
    return 0
  }
}

/** Resolves after so long. */
export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise(resolve => void afterAwaited(clock, Math.max(1, ms), resolve))
}
