import type { MaybePromise } from '../../src/core/message.ts'

/** Headers of a NATS message, in both generations of the client. */
export interface NatsHeaders {
  keys(): string[]
  values(name: string): string[]
  append(name: string, value: string): void
}

/** Message of core NATS, of `nats` version 2 or `@nats-io/nats-core` version 3. */
export interface NatsMessage {
  readonly subject: string
  readonly data: Uint8Array
  readonly headers?: NatsHeaders | undefined
  readonly sid: number
  /** Reply subject. Empty or absent if the message is not a request. */
  readonly reply?: string | undefined
  respond?(payload?: Uint8Array | string, options?: { headers?: NatsHeaders | undefined }): boolean
}

/** JetStream's information about a delivery. */
export interface DeliveryInfo {
  readonly stream: string
  readonly consumer: string
  /** Counts from 1. */
  readonly deliveryCount: number
  readonly streamSequence: number
  readonly pending: number
  readonly redelivered: boolean
}

/** Message of a JetStream consumer. It is answered once; `working` does not count as an answer. */
export interface JetStreamMessage extends NatsMessage {
  readonly info: DeliveryInfo
  readonly seq: number
  ack(): void
  nak(delayMs?: number): void
  working(): void
  term(reason?: string): void
  ackAck(): Promise<boolean>
}

/** Part of a subscription that topicgate uses. */
export interface NatsSubscription {
  /** Ends the subscription when all messages sent by the server have arrived. */
  drain(): Promise<void>
  unsubscribe(max?: number): void
}

/** Options of a published message. `msgID` and `expect` are for JetStream. */
export interface NatsPublishOptions {
  readonly headers?: NatsHeaders | undefined
  readonly reply?: string | undefined
  /** Message id. The stream stores each id once, so that a message without an answer may be sent again. */
  readonly msgID?: string | undefined
  readonly expect?: object | undefined
}

/** Part of a connection that publishes redirected messages and dead letters. */
export interface NatsPublishTarget {
  publish(
    subject: string,
    payload?: Uint8Array,
    options?: { headers?: NatsHeaders | undefined; reply?: string | undefined },
  ): void
  /** Publishes and waits for the stream's answer. Without this method publishes cannot be confirmed. */
  request?(
    subject: string,
    payload?: Uint8Array,
    options?: { timeout: number; headers?: NatsHeaders | undefined },
  ): Promise<NatsMessage>
}

/** Part of a connection that topicgate uses, of either client generation. */
export interface NatsConnection<M extends NatsMessage = NatsMessage> extends NatsPublishTarget {
  subscribe(
    subject: string,
    options?: { queue?: string | undefined; callback?: (error: Error | null, message: M) => void },
  ): NatsSubscription
}

/** Information about a consumer. Times are in nanoseconds. */
export interface ConsumerInfo {
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

/** Messages of a consumer. */
export interface ConsumerMessages<M> extends AsyncIterable<M> {
  close(): Promise<unknown>
  /** Resolves with the error that ended it, if there is one. */
  closed(): Promise<unknown>
  /** Status updates of the consumer; in `nats` version 2 a promise of them. */
  status?(): MaybePromise<AsyncIterable<{ readonly type: string; readonly data?: unknown }>>
  stop?(error?: Error): void
}

/** Pull consumer, or push consumer of `@nats-io/jetstream`. */
export interface JetStreamConsumer<M extends JetStreamMessage = JetStreamMessage> {
  info(cached?: boolean): Promise<ConsumerInfo>
  consume(options?: { callback?: (message: M) => void; max_messages?: number }): Promise<ConsumerMessages<M>>
}

/** Pull consumer, from which a number of messages can be requested. */
export interface PullConsumer<M extends JetStreamMessage = JetStreamMessage> extends JetStreamConsumer<M> {
  fetch(options?: { max_messages?: number; expires?: number }): Promise<ConsumerMessages<M>>
}
