import type { Decision } from '../../src/core/decision.ts'
import { policyError, UnsupportedError } from '../../src/core/errors.ts'
import type { Sender } from '../../src/core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import { GUARD_OPTIONS, type GuardOptions, RENAMED_GUARD_OPTIONS } from '../../src/guard/guard.ts'
import {
  clientOptionsOf,
  type MqttClient,
  type MqttJsPublishPacket,
  type ReceivingClient,
} from './client-types.ts'

/** Limits that a message has passed, for its handler. */
export interface MessageLimits {
  readonly decision: Decision
  /** Rate-limit fields with the lower-case names of MQTT 5 user properties: `ratelimit`, `ratelimit-policy`. */
  readonly fields: Readonly<Record<string, string>>
}

/** Handles a message that may pass, with the arguments of a `message` listener. A promise delays the acknowledgement. */
export type Handler = (
  topic: string,
  payload: Buffer,
  packet: MqttJsPublishPacket,
  limits: MessageLimits,
) => unknown

/** Returns what the application knows of a message's sender. */
export type Identify = (topic: string, packet: MqttJsPublishPacket) => Partial<Sender>

/** Options of `limitConsumer`; see also {@link GuardOptions}. */
export interface ConsumerOptions extends Omit<GuardOptions, 'holds'> {
  /** Receives messages that may pass, one at a time. Errors are counted and logged; the message is acknowledged. */
  readonly handler: Handler
  /**
   * Adds fields to a sender, such as its device, user or tier. Called for every message; errors are logged. Without it,
   * senders are identified by topic, with a policy's `senders` and captures.
   */
  readonly identify?: Identify | undefined
  /** Second client that publishes redirected messages. Not the consumer, which would wait for its own delivery. */
  readonly deadLetter?: MqttClient | undefined
  /** Longest wait for its acknowledgement before the message counts as not redirected. Default: 10,000. */
  readonly deadLetterTimeoutMs?: number | undefined
}

const { holds: _holds, ...GUARD } = GUARD_OPTIONS
const OPTIONS: KnownOptions<ConsumerOptions> = {
  ...GUARD,
  handler: true,
  identify: true,
  deadLetter: true,
  deadLetterTimeoutMs: true,
}

/** Throws PolicyError or UnsupportedError for options that do not work with this client. */
export function checkConsumerOptions(client: ReceivingClient, options: ConsumerOptions): void {
  checkOptionNames(options, OPTIONS, '', RENAMED_GUARD_OPTIONS)
  if (typeof options.handler !== 'function')
    throw policyError('handler', 'it is missing', 'pass a function that handles messages')
  const { deadLetterTimeoutMs = 1 } = options
  if (!(deadLetterTimeoutMs > 0))
    throw policyError(
      'deadLetterTimeoutMs',
      `${deadLetterTimeoutMs} is not above 0`,
      'leave it out for 10,000',
    )
  if ((options.deadLetter as unknown) === client) {
    throw new UnsupportedError(
      'deadLetter is the consumer itself, which would wait for its own acknowledgement (connect a second client)',
    )
  }
  if (typeof client.handleMessage !== 'function') {
    throw new UnsupportedError('the client has no handleMessage, which delivers messages (use MQTT.js 5)')
  }
  if ((clientOptionsOf(client).properties?.topicAliasMaximum ?? 0) > 0) {
    throw new UnsupportedError(
      'with topic aliases MQTT.js does not report the topic of a message to the limiter (leave topicAliasMaximum out)',
    )
  }
}
