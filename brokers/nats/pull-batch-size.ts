import { createSender } from '../../src/chain/senders/sender-state.ts'
import { type Clock, sleep } from '../../src/core/clock.ts'
import type { Message } from '../../src/core/message.ts'
import type { Gate } from '../../src/gate/gate.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'

/** Longest single wait, because the policy may change and the source may be stopped meanwhile. */
const LONGEST_WAIT_MS = 1_000

/** Placeholder for any token in the probe subject. */
const ANY = '_'

/**
 * Computes the number of messages to pull under limits of the whole consumer: rules `per: global` that cover all its
 * messages and throttle or retry. Why: with a check before the pull no message arrives before it may pass, and none is
 * delivered twice. Charges nothing; a message is charged when it arrives.
 */
export class PullBatchSize {
  readonly #gate: Gate
  readonly #clock: Clock
  readonly #probe: Message
  readonly #isWholeStream: boolean

  constructor(gate: Gate, clock: Clock, subjects: readonly string[] | undefined) {
    this.#gate = gate
    this.#clock = clock
    this.#isWholeStream = subjects === undefined
    const topic = (subjects?.[0] ?? ANY).replace(/[*>]/g, ANY)
    this.#probe = { topic, on: 'publish', sender: createSender({}), size: 0, protocol: 'nats' }
  }

  /** Returns the rules that limit the whole consumer. */
  rules(): ReadonlySet<string> {
    const outcomes = this.#gate.outcomes('publish')
    const names = [...(outcomes.get('throttle') ?? []), ...(outcomes.get('retry') ?? [])]
    return new Set(names.filter(name => this.#limitsConsumer(this.#gate.ruleOf(name))))
  }

  #limitsConsumer(ruleInfo: RuleInfo | undefined): boolean {
    if (ruleInfo === undefined || ruleInfo.isSelective || ruleInfo.shadowShare > 0) return false
    if (ruleInfo.per.some(scope => scope !== 'global')) return false
    return ruleInfo.pattern === undefined || ruleInfo.pattern === '>' || !this.#isWholeStream
  }

  /** Returns the number of messages that may be pulled now, up to `most`, or the time to wait if it is 0. */
  async compute(most: number): Promise<{ readonly room: number; readonly waitMs: number }> {
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

  /** Waits until messages may be pulled and returns their number, or 0 if `isOver` returns true first. */
  async wait(most: number, isOver: () => boolean): Promise<number> {
    while (!isOver()) {
      const { room, waitMs } = await this.compute(most)
      if (room > 0) return room
      await sleep(this.#clock, Math.min(Math.max(1, waitMs), LONGEST_WAIT_MS))
    }
    return 0
  }
}
