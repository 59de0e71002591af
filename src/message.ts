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
  readonly client?: string
  readonly user?: string
  readonly device?: string
  readonly apiKey?: string
  readonly ip?: string
  readonly roles?: readonly string[]
  readonly tier?: string
}

/** What passed: one publish, subscribe, connect or delivery. */
export interface Message {
  readonly topic: string
  readonly on: Action
  readonly sender: Sender
  /** Payload bytes. */
  readonly size: number
  readonly qos?: 0 | 1 | 2
  readonly retain?: boolean
  readonly protocol?: 'mqtt' | 'nats'
  readonly headers?: Headers
  /** The parsed payload: parsed on first use, once, bounded; `undefined` when it cannot be parsed. Never throws. */
  payload?(): unknown
}
