import type { MaybePromise } from '../../src/core/message.ts'

/** The headers of a NATS message, as both generations of the client have them. */
export interface NatsHeaders {
  keys(): string[]
  values(name: string): string[]
  append(name: string, value: string): void
}

/** A message of core NATS, of `nats` version 2 or `@nats-io/nats-core` version 3. */
export interface NatsMessage {
  readonly subject: string
  readonly data: Uint8Array
  readonly headers?: NatsHeaders | undefined
  readonly sid: number
  /** Empty or absent where nobody waits for an answer. */
  readonly reply?: string | undefined
  respond?(payload?: Uint8Array | string, options?: { headers?: NatsHeaders }): boolean
}

/** What JetStream tells of a delivery. */
export interface DeliveryFacts {
  readonly stream: string
  readonly consumer: string
  /** From 1. */
  readonly deliveryCount: number
  readonly streamSequence: number
  readonly pending: number
  readonly redelivered: boolean
}

/** A message of a JetStream consumer. Its answers are given once; `working` is none. */
export interface JetStreamMessage extends NatsMessage {
  readonly info: DeliveryFacts
  readonly seq: number
  ack(): void
  nak(delayMs?: number): void
  working(): void
  term(reason?: string): void
  ackAck(): Promise<boolean>
}

/** The part of a subscription that is used. */
export interface NatsSubscription {
  /** Ends it once all that the server has sent has come. */
  drain(): Promise<void>
  unsubscribe(max?: number): void
}

/** The part of a connection that publishes: for what is redirected and for dead letters. */
export interface NatsPublishTarget {
  publish(subject: string, payload?: Uint8Array, options?: { headers?: NatsHeaders; reply?: string }): void
  /** Publishes and waits for the answer of a stream; without it nothing is known of what was published. */
  request?(
    subject: string,
    payload?: Uint8Array,
    options?: { timeout: number; headers?: NatsHeaders },
  ): Promise<NatsMessage>
}

/** The part of a connection that is used, of either generation. */
export interface NatsConnection<M extends NatsMessage = NatsMessage> extends NatsPublishTarget {
  subscribe(
    subject: string,
    options?: { queue?: string; callback?: (error: Error | null, message: M) => void },
  ): NatsSubscription
}

/** What a consumer says of itself; times in nanoseconds. */
export interface ConsumerFacts {
  readonly name?: string | undefined
  readonly stream_name?: string | undefined
  readonly config: {
    readonly ack_policy?: string | undefined
    readonly ack_wait?: number | undefined
    readonly backoff?: readonly number[] | undefined
    readonly max_deliver?: number | undefined
    readonly max_ack_pending?: number | undefined
    readonly filter_subject?: string | undefined
    readonly filter_subjects?: readonly string[] | undefined
  }
}

/** Messages on their way from a consumer. */
export interface ConsumerMessages<M> extends AsyncIterable<M> {
  close(): Promise<unknown>
  /** Resolves with the error that ended it, if there is one. */
  closed(): Promise<unknown>
  /** What becomes of its consumer; of `nats` version 2 a promise of it. */
  status?(): MaybePromise<AsyncIterable<{ readonly type: string; readonly data?: unknown }>>
  stop?(error?: Error): void
}

/** A pull consumer, or a push consumer of `@nats-io/jetstream`. */
export interface JetStreamConsumer<M extends JetStreamMessage = JetStreamMessage> {
  info(cached?: boolean): Promise<ConsumerFacts>
  consume(options?: { callback?: (message: M) => void; max_messages?: number }): Promise<ConsumerMessages<M>>
}

/** A pull consumer, which can be asked for a few messages. */
export interface PullConsumer<M extends JetStreamMessage = JetStreamMessage> extends JetStreamConsumer<M> {
  fetch(options?: { max_messages?: number; expires?: number }): Promise<ConsumerMessages<M>>
}
