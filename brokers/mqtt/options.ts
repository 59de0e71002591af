import type { Decision } from '../../src/core/decision.ts'
import { policyError, UnsupportedError } from '../../src/core/errors.ts'
import type { Sender } from '../../src/core/message.ts'
import { checkOptionNames, type OptionNames } from '../../src/core/option-names.ts'
import { GUARD_OPTIONS, GUARD_REMEDIES, type GuardOptions } from '../../src/guard/guard.ts'
import { type MqttClient, optionsOf, type PublishPacket, type ReceivingClient } from './client.ts'

/** What was decided about a message that the handler gets. */
export interface Limits {
  readonly decision: Decision
  /** The rate-limit fields, in lower case as MQTT 5 user properties are called: `ratelimit`, `ratelimit-policy`. */
  readonly fields: Readonly<Record<string, string>>
}

/** Takes a message that passes; called like a `message` listener. A promise is awaited before the acknowledgement. */
export type Handler = (topic: string, payload: Buffer, packet: PublishPacket, limits: Limits) => unknown

/** What the application knows of who sent a message. */
export type Identify = (topic: string, packet: PublishPacket) => Partial<Sender>

/** How `limitConsumer` behaves; see also {@link GuardOptions}. */
export interface ConsumerOptions extends Omit<GuardOptions, 'holds'> {
  /** Gets what passes, one message at a time. What it throws is counted and logged; the message is acknowledged. */
  readonly handler: Handler
  /**
   * Adds to a sender, as its device, user or tier; what it throws is logged. Asked for every message. Without it a
   * policy's `senders` and captures tell senders apart, by topic.
   */
  readonly identify?: Identify | undefined
  /** Publishes what is redirected. A second client: one that awaits itself inside its own delivery waits for ever. */
  readonly deadLetter?: MqttClient | undefined
  /** How long its acknowledgement is waited for, before the message counts as not redirected. Default: 10,000. */
  readonly deadLetterTimeoutMs?: number | undefined
}

const { holds: _holds, ...GUARD } = GUARD_OPTIONS
const OPTIONS: OptionNames<ConsumerOptions> = {
  ...GUARD,
  handler: true,
  identify: true,
  deadLetter: true,
  deadLetterTimeoutMs: true,
}

/** Throws PolicyError or UnsupportedError for what cannot work with this client. */
export function checkOptions(client: ReceivingClient, options: ConsumerOptions): void {
  checkOptionNames(options, OPTIONS, '', GUARD_REMEDIES)
  if (typeof options.handler !== 'function')
    throw policyError('handler', 'there is none', 'give the function that takes what passes')
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
    throw new UnsupportedError(
      'the client has no handleMessage, by which it hands messages on (use MQTT.js 5)',
    )
  }
  if ((optionsOf(client).properties?.topicAliasMaximum ?? 0) > 0) {
    throw new UnsupportedError(
      'with topic aliases MQTT.js does not tell the topic where messages are limited (leave topicAliasMaximum out)',
    )
  }
}
