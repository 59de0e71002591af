import type { Clock } from '../../src/core/clock.ts'
import type { Decision } from '../../src/core/decision.ts'
import { redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'
import type { MqttClient } from './client-types.ts'
import type { ReceivedMessage } from './message.ts'

const DEFAULT_TIMEOUT_MS = 10_000

/** Publishes refused messages to another topic by a second client. */
export class DeadLetterPublisher {
  readonly #client: MqttClient
  readonly #clock: Clock
  readonly #timeoutMs: number

  constructor(client: MqttClient, clock: Clock, timeoutMs = DEFAULT_TIMEOUT_MS) {
    this.#client = client
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /**
   * Publishes a message by its rule's plan, with at least QoS 1, and calls `answer` once when the broker has it or it
   * failed. Never throws.
   */
  send(
    message: ReceivedMessage,
    decision: Decision,
    ruleInfo: RuleInfo | undefined,
    answer: (failure?: unknown) => void,
  ): void {
    const plan = ruleInfo?.exceeded.redirect
    const topic =
      plan === undefined
        ? undefined
        : redirectTopic(plan, message, decision, ruleInfo?.capturesOf(message.topic))
    if (plan === undefined || topic === undefined) {
      answer(new Error('no valid target topic'))
      return
    }
    let isAnswered = false
    const settle = (failure?: unknown): void => {
      if (isAnswered) return
      isAnswered = true
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
