import type { Client } from 'aedes'
import type { Decision } from '../../src/core/decision.ts'
import { policyError } from '../../src/core/errors.ts'
import type { Sender } from '../../src/core/message.ts'
import { type Gate, refusalText } from '../../src/index.ts'

/** The shortest time between two notices to one client. */
export const NOTICE_EVERY_MS = 1_000

const CLIENT = '{client}'

/** aedes' own, but not in its types. */
interface Subscribed {
  readonly subscriptions?: Readonly<Record<string, unknown>> | undefined
}

/** What a refused client is told. */
interface Notice {
  readonly rule: string | undefined
  readonly limit: number | undefined
  readonly remaining: number | undefined
  /** null where the message can never pass. */
  readonly retryAfterMs: number | null
  readonly text: string
}

/**
 * Tells refused clients why, on a topic of their own, as MQTT 3.1.1 has no word for a refusal. A notice is handed to
 * the one client that has subscribed to its topic, past the broker's routing: no other can receive it, nothing is
 * retained, and no limit ever meets it.
 */
export class Notices {
  readonly #before: string
  readonly #after: string
  readonly #gate: Gate

  /** `topic` holds {client} as one whole level, and begins with `$`, where no wildcard reaches. Throws PolicyError. */
  constructor(topic: string, gate: Gate) {
    const levels = topic.split('/')
    const isOwn = levels.filter(level => level === CLIENT).length === 1 && levels[0] !== CLIENT
    if (!isOwn || topic[0] !== '$' || topic.startsWith('$SYS/') || /[+#\0]/.test(topic))
      throw policyError('notices', `"${topic}" is no topic for notices`, 'write $topicgate/{client}/limits')
    const at = topic.indexOf(`/${CLIENT}`) + 1
    this.#before = topic.slice(0, at)
    this.#after = topic.slice(at + CLIENT.length)
    this.#gate = gate
  }

  /** Whether a topic, or a filter, stands where notices do: nobody may publish there. */
  covers(topic: string): boolean {
    if (!topic.startsWith('$')) return false
    const own = `${this.#before}+${this.#after}`.split('/')
    const levels = topic.split('/')
    for (let index = 0; ; index++) {
      const [ours, other] = [own[index], levels[index]]
      if (other === '#') return true
      if (ours === undefined || other === undefined) return ours === other
      if (ours !== '+' && other !== '+' && ours !== other) return false
    }
  }

  /** Whether a client may subscribe to a filter: of those that reach notices only its own topic. */
  mayRead(client: Client, filter: string): boolean {
    return !this.covers(filter) || filter === this.#topicOf(client)
  }

  /** Tells a client of a refusal, unless it has not asked for it. True where it was told. Never throws. */
  tell(client: Client, sender: Sender, decision: Decision): boolean {
    const topic = this.#topicOf(client)
    const { subscriptions } = client as Subscribed
    if (topic === undefined || subscriptions === undefined || !Object.hasOwn(subscriptions, topic))
      return false
    const { rule, limit, remaining, retryAfterMs } = decision
    const facts = rule === undefined ? undefined : this.#gate.ruleOf(rule)
    const notice: Notice = {
      rule,
      limit,
      remaining,
      retryAfterMs: Number.isFinite(retryAfterMs) ? retryAfterMs : null,
      text: refusalText(decision, sender, facts),
    }
    const payload = Buffer.from(JSON.stringify(notice))
    client.publish({ cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false }, () => {})
    return true
  }

  /** A client whose id is no level of a topic has none. */
  #topicOf({ id }: Client): string | undefined {
    return id && !/[+#/\0]/.test(id) ? `${this.#before}${id}${this.#after}` : undefined
  }
}
