import type { Clock } from '../../src/core/clock.ts'
import type { Decision } from '../../src/core/decision.ts'
import { redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'
import type { MqttClient } from './client.ts'
import type { ReceivedMessage } from './message.ts'

const DEFAULT_TIMEOUT_MS = 10_000

/** Publishes refused messages elsewhere, by a client of its own. */
export class DeadLetter {
  readonly #client: MqttClient
  readonly #clock: Clock
  readonly #timeoutMs: number

  constructor(client: MqttClient, clock: Clock, timeoutMs = DEFAULT_TIMEOUT_MS) {
    this.#client = client
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /**
   * Publishes a message where its rule's plan says, with at least QoS 1, and answers once whether the broker has it.
   * Never throws.
   */
  send(
    message: ReceivedMessage,
    decision: Decision,
    facts: RuleInfo | undefined,
    answer: (failure?: unknown) => void,
  ): void {
    const plan = facts?.exceeded.redirect
    const topic =
      plan === undefined
        ? undefined
        : redirectTopic(plan, message, decision, facts?.capturesOf(message.topic))
    if (plan === undefined || topic === undefined) {
      answer(new Error('there is no topic it may go to'))
      return
    }
    let answered = false
    const settle = (failure?: unknown): void => {
      if (answered) return
      answered = true
      cancel()
      answer(failure ?? undefined)
    }
    const cancel = this.#clock.after(this.#timeoutMs, () =>
      settle(new Error(`no acknowledgement within ${this.#timeoutMs} ms`)),
    )
    const userProperties = { ...message.headers, ...redirectHeaders(plan, message, decision) }
    const qos = Math.max(1, message.qos) as 1 | 2
    try {
      const options = { qos, retain: false, properties: { userProperties } }
      this.#client.publish(topic, message.packet.payload, options, settle)
    } catch (failure) {
      settle(failure)
    }
  }
}
