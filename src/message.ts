/** What a broker did with the topic: who publishes, who subscribes, who connects, to whom it is delivered. */
export type Action = 'publish' | 'subscribe' | 'connect' | 'deliver'

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
}
