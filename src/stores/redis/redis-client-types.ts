import { StoreError } from '../../core/errors.ts'
import type { KnownOptions } from '../../core/option-names.ts'

/** Redis client as used by the store; see {@link fromIoredis} and {@link fromNodeRedis}. */
export interface RedisClient {
  /** True if keys are distributed over slots, so that a script may access only the keys of one. */
  readonly isCluster: boolean
  /** Returns true if a command is sent immediately; commands are never queued. */
  isReady(): boolean
  /** Returns the last connection error, or undefined. */
  problem?(): string | undefined
  /** Returns the name of the server that holds a slot; the same name means the same clock. */
  serverOf(slot: number): string
  evalsha(sha: string, keys: readonly string[], args: readonly string[]): Promise<unknown>
  eval(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>
  /** Returns every server that holds keys. */
  masters(): Promise<readonly RedisServerLink[]>
  /** Reconnects to the server of a slot; pending commands fail. */
  drop(slot: number): void
  /** Subscribes to a channel on a new connection. Throws if none can be opened; absent if the client never can. */
  listen?(channel: string, events: SubscriptionEvents): ChannelSubscription
  close(): Promise<void>
}

/** Connection subscribed to one channel until it is lost; it does not reconnect, the caller opens another. */
export interface ChannelSubscription {
  close(): void
}

/** Events of a subscription. */
export interface SubscriptionEvents {
  /** Called when the subscription is active and receives every message. */
  onLive(): void
  onMessage(): void
  /** Called when the subscription is lost or fails to open; possibly more than once. */
  onEnded(): void
}

/** Connection to one Redis server. */
export interface RedisServerLink {
  call(command: string, ...args: string[]): Promise<unknown>
}

export interface RedisAdapterOptions {
  /** Receives connection errors, without passwords. */
  readonly onError?: ((error: unknown) => void) | undefined
  /** True if the store closes the client. Default: false; the caller closes it. */
  readonly owned?: boolean | undefined
}

export const REDIS_ADAPTER_OPTIONS: KnownOptions<RedisAdapterOptions> = { onError: true, owned: true }

/** Returns the error of a command that cannot be sent, with the cause. */
export function notConnected(client: RedisClient): StoreError {
  const problem = client.problem?.()
  return new StoreError(problem === undefined ? 'redis: not connected' : `redis: not connected: ${problem}`)
}

/** Event emitter of a client. Without an error listener, an error event would end the process. */
export interface Emitting {
  on(event: string, listener: (argument: unknown) => void): unknown
  removeListener(event: string, listener: (argument: unknown) => void): unknown
}
