import { checkWord, policyError } from './errors.ts'
import type { FieldPath } from './field-path.ts'

/**
 * Action on the topic: a client publishes, subscribes or connects, a message is delivered to it, or a socket is accepted
 * before anything but its address is known.
 */
export type Operation = 'publish' | 'subscribe' | 'connect' | 'deliver' | 'accept'

/** All actions. */
export const MESSAGE_OPERATIONS: readonly Operation[] = [
  'publish',
  'subscribe',
  'connect',
  'deliver',
  'accept',
]

/** Dialect of topics and patterns: MQTT (`a/+/#`) or NATS (`a.*.>`). */
export type Dialect = 'mqtt' | 'nats'

/** A value, or a promise of it if a network call is needed. */
export type MaybePromise<T> = T | Promise<T>

export type MessageHeaders = Readonly<Record<string, string | readonly string[]>>

/**
 * Sender of a message. One object per connection, reused for all its messages and never changed. Why: limits
 * cache their slots on it, which makes decisions fast.
 */
export interface Sender {
  readonly client?: string | undefined
  readonly user?: string | undefined
  readonly device?: string | undefined
  readonly apiKey?: string | undefined
  readonly ip?: string | undefined
  readonly roles?: readonly string[] | undefined
  readonly tier?: string | undefined
}

/** Returns true if a part of a sender is set and not empty. */
export function isNonEmptyString(part: string | undefined): part is string {
  return part !== undefined && part !== ''
}

/** A publish, subscribe, connect or delivery to check. */
export interface Message {
  readonly topic: string
  readonly on: Operation
  readonly sender: Sender
  /** Payload bytes. */
  readonly size: number
  readonly qos?: 0 | 1 | 2 | undefined
  readonly retain?: boolean | undefined
  /** True for a will that the broker publishes for a disconnected client. */
  readonly will?: boolean | undefined
  /** May have been delivered before: a DUP packet of MQTT, a redelivery of JetStream. */
  readonly duplicate?: boolean | undefined
  readonly protocol?: 'mqtt' | 'nats' | undefined
  readonly headers?: MessageHeaders | undefined
  /**
   * True if the sender is not authenticated yet, as in a connect. Refusals then count against its address
   * only. See `gate.confirmConnect`.
   */
  readonly claimed?: boolean | undefined
  /**
   * Returns the parsed payload; parsed once, on first use, and bounded. Returns `undefined` if it cannot be
   * parsed. Never throws.
   */
  payload?(): unknown
  /**
   * Returns a field of what `payload` returns, without parsing the rest. Optional, for speed: conditions and costs
   * call `payload` if it is missing. Never throws.
   */
  payloadField?(path: FieldPath): unknown
  /** Returns the payload bytes, which must not be changed. Returns undefined if they cannot be read. Never throws. */
  bytes?(): Uint8Array | undefined
}

/** A message built in code. Without `on` it is a publish, without a sender it is anonymous. */
export type GivenMessage = Omit<Message, 'on' | 'sender'> & {
  readonly on?: Operation | undefined
  readonly sender?: Sender | undefined
}

/** Returns a message with all required fields; the same object if nothing is missing. */
export function completeMessage(given: GivenMessage, anonymous: Sender): Message {
  const lacksAction = given.on === undefined
  const lacksSender = given.sender === undefined
  if (!lacksAction && !lacksSender) return given as Message
  const { payload, payloadField, bytes } = given
  // Inherits other properties, including those of its class, so that middleware can read them.
  return Object.create(given, {
    ...(lacksAction ? { on: { value: 'publish', enumerable: true } } : {}),
    ...(lacksSender ? { sender: { value: anonymous, enumerable: true } } : {}),
    ...(typeof payload === 'function' ? { payload: { value: () => payload.call(given) } } : {}),
    ...(typeof payloadField === 'function'
      ? { payloadField: { value: (path: FieldPath) => payloadField.call(given, path) } }
      : {}),
    ...(typeof bytes === 'function' ? { bytes: { value: () => bytes.call(given) } } : {}),
  }) as Message
}

/** Throws PolicyError if a message built in code is invalid. */
export function validateMessage({ topic, on, sender }: Message): void {
  if (typeof topic !== 'string')
    throw policyError(
      'topic',
      `${typeof topic} is not a topic`,
      "give { topic: 'a/b', sender: { client: 'c1' }, size: 0 }",
    )
  checkWord(on, MESSAGE_OPERATIONS, 'on', 'action')
  if (typeof sender !== 'object' || sender === null)
    throw policyError('sender', `${typeof sender} is not a sender`, "give { client: 'c1' }, or leave it out")
}
