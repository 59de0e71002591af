import { checkWord, policyError } from './errors.ts'

/** What a broker did with the topic: who publishes, who subscribes, who connects, to whom it is delivered. */
export type Action = 'publish' | 'subscribe' | 'connect' | 'deliver'

/** All actions. */
export const ACTIONS: readonly Action[] = ['publish', 'subscribe', 'connect', 'deliver']

/** How topics and patterns are read: MQTT (`a/+/#`) or NATS (`a.*.>`). */
export type Dialect = 'mqtt' | 'nats'

/** A value, or the promise of it where a network had to be asked. */
export type MaybePromise<T> = T | Promise<T>

export type Headers = Readonly<Record<string, string | readonly string[]>>

/**
 * Who sent a message. One object per connection, reused for all its messages and never changed: limits keep
 * their place on it, which is what makes a decision fast.
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

/** Reports whether a part of a sender names anything: an empty text names nobody. */
export function isNamed(part: string | undefined): part is string {
  return part !== undefined && part !== ''
}

/** What passed: one publish, subscribe, connect or delivery. */
export interface Message {
  readonly topic: string
  readonly on: Action
  readonly sender: Sender
  /** Payload bytes. */
  readonly size: number
  readonly qos?: 0 | 1 | 2 | undefined
  readonly retain?: boolean | undefined
  /** A will that the broker publishes for a client that is gone. */
  readonly will?: boolean | undefined
  readonly protocol?: 'mqtt' | 'nats' | undefined
  readonly headers?: Headers | undefined
  /**
   * The sender is what it says it is and has not been authenticated, as in a connect: refusals count against its address
   * alone. See `gate.confirmConnect`.
   */
  readonly claimed?: boolean | undefined
  /** The parsed payload: parsed on first use, once, bounded; `undefined` when it cannot be parsed. Never throws. */
  payload?(): unknown
  /** The payload as it was sent, not to be changed; undefined when it cannot be read. Never throws. */
  bytes?(): Uint8Array | undefined
}

/** A message as code gives it: without `on` it is a publish, without a sender an anonymous one. */
export type GivenMessage = Omit<Message, 'on' | 'sender'> & {
  readonly on?: Action | undefined
  readonly sender?: Sender | undefined
}

/** Returns a message with what a given one leaves out; the same object if nothing is missing. */
export function completeMessage(given: GivenMessage, anonymous: Sender): Message {
  const lacksAction = given.on === undefined
  const lacksSender = given.sender === undefined
  if (!lacksAction && !lacksSender) return given as Message
  const { payload } = given
  // What it has besides, also by its class, stays visible to middleware.
  return Object.create(given, {
    ...(lacksAction ? { on: { value: 'publish', enumerable: true } } : {}),
    ...(lacksSender ? { sender: { value: anonymous, enumerable: true } } : {}),
    ...(typeof payload === 'function' ? { payload: { value: () => payload.call(given) } } : {}),
  }) as Message
}

/** Throws PolicyError for what is no message: only code can give it. */
export function checkMessage({ topic, on, sender }: Message): void {
  if (typeof topic !== 'string')
    throw policyError(
      'topic',
      `${typeof topic} is no topic`,
      "give { topic: 'a/b', sender: { client: 'c1' }, size: 0 }",
    )
  checkWord(on, ACTIONS, 'on', 'action')
  if (typeof sender !== 'object' || sender === null)
    throw policyError('sender', `${typeof sender} is no sender`, "give { client: 'c1' }, or leave it out")
}
