import type { Client } from 'aedes'
import type { Decision } from '../../src/core/decision.ts'
import { policyError } from '../../src/core/errors.ts'
import type { Sender } from '../../src/core/message.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { refusalText } from '../../src/outcomes/refusal-text.ts'
import { aedesClientInternals } from './aedes-internals.ts'

/** Minimum time between two notices to one client. */
export const NOTICE_EVERY_MS = 1_000

const CLIENT = '{client}'

/** Payload of a notice. */
interface Notice {
  readonly rule: string | undefined
  readonly limit: number | undefined
  readonly remaining: number | undefined
  /** null if the message can never pass. */
  readonly retryAfterMs: number | null
  readonly text: string
}

/**
 * Sends refused clients the reason on a topic of their own, as MQTT 3.1.1 has no reason codes. A notice is sent
 * directly to the one client that subscribed to its topic, bypassing the broker's routing: no other client receives it,
 * it is never retained, and no limit applies to it.
 */
export class RefusalNotices {
  /** The topic before and after the client id. */
  readonly #prefix: string
  readonly #suffix: string
  readonly #gate: Gate

  /**
   * Throws PolicyError unless `topic` begins with `$`, which wildcards do not match, and contains {client} as one whole
   * level.
   */
  constructor(topic: string, gate: Gate) {
    const levels = topic.split('/')
    const hasClientLevel = levels.filter(level => level === CLIENT).length === 1 && levels[0] !== CLIENT
    if (!hasClientLevel || topic[0] !== '$' || topic.startsWith('$SYS/') || /[+#\0]/.test(topic))
      throw policyError('notices', `"${topic}" is not a notice topic`, 'write $topicgate/{client}/limits')
    const at = topic.indexOf(`/${CLIENT}`) + 1
    this.#prefix = topic.slice(0, at)
    this.#suffix = topic.slice(at + CLIENT.length)
    this.#gate = gate
  }

  /** Returns true if a topic, or a filter, matches a notice topic. No client may publish there. */
  isNoticeTopic(topic: string): boolean {
    if (!topic.startsWith('$')) return false
    const own = `${this.#prefix}+${this.#suffix}`.split('/')
    const levels = topic.split('/')
    for (let index = 0; ; index++) {
      const [ownLevel, level] = [own[index], levels[index]]
      if (level === '#') return true
      if (ownLevel === undefined || level === undefined) return ownLevel === level
      if (ownLevel !== '+' && level !== '+' && ownLevel !== level) return false
    }
  }

  /** Returns true if a client may subscribe to a filter: of the notice topics only its own. */
  mayRead(client: Client, filter: string): boolean {
    return !this.isNoticeTopic(filter) || filter === this.#topicOf(client)
  }

  /**
   * Sends a client a notice about a refusal. Returns false if the client has not subscribed to notices. Never throws.
   */
  send(client: Client, sender: Sender, decision: Decision): boolean {
    const topic = this.#topicOf(client)
    const { subscriptions } = aedesClientInternals(client)
    if (topic === undefined || subscriptions === undefined || !Object.hasOwn(subscriptions, topic))
      return false
    const { rule, limit, remaining, retryAfterMs } = decision
    const ruleInfo = rule === undefined ? undefined : this.#gate.ruleOf(rule)
    const notice: Notice = {
      rule,
      limit,
      remaining,
      retryAfterMs: Number.isFinite(retryAfterMs) ? retryAfterMs : null,
      text: refusalText(decision, sender, ruleInfo),
    }
    const payload = Buffer.from(JSON.stringify(notice))
    client.publish({ cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false }, () => {})
    return true
  }

  /** Returns undefined if the client id cannot be a topic level. */
  #topicOf({ id }: Client): string | undefined {
    return id && !/[+#/\0]/.test(id) ? `${this.#prefix}${id}${this.#suffix}` : undefined
  }
}
