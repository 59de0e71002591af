import { StoreError } from '../../core/errors.ts'
import type { OptionNames } from '../../core/option-names.ts'

/** What the store asks of a Redis client; {@link fromIoredis} and {@link fromNodeRedis} make it of theirs. */
export interface RedisClient {
  /** Whether keys are spread over slots, and a script may touch only keys of one. */
  readonly isCluster: boolean
  /** Whether a command sent now goes out now: nothing is ever queued for later. */
  isReady(): boolean
  /** Why there is no connection: what went wrong last; undefined if nothing did. */
  problem?(): string | undefined
  /** Which server answers for a slot; the same name, the same clock. */
  serverOf(slot: number): string
  evalsha(sha: string, keys: readonly string[], args: readonly string[]): Promise<unknown>
  eval(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>
  /** Every server that holds keys. */
  masters(): Promise<readonly RedisServerLink[]>
  /** Closes the connection to the server of a slot and opens another: commands without an answer fail. */
  drop(slot: number): void
  /** Opens a connection of its own that hears a channel. Throws where none can be opened; absent where none ever can. */
  listen?(channel: string, events: SubscriptionEvents): Subscription
  close(): Promise<void>
}

/** A connection that hears one channel until it is lost: it is never mended, but another is opened. */
export interface Subscription {
  close(): void
}

/** What becomes of an ear. */
export interface SubscriptionEvents {
  /** From now on it hears everything. */
  live(): void
  heard(): void
  /** It was lost, or never came to be. May be called more than once. */
  ended(): void
}

/** One server of a Redis. */
export interface RedisServerLink {
  call(command: string, ...args: string[]): Promise<unknown>
}

export interface AdapterOptions {
  /** Told of connections that break; never of passwords. */
  readonly onError?: ((error: unknown) => void) | undefined
  /** Whether the client is closed together with the store. Default: false: who made it closes it. */
  readonly owned?: boolean | undefined
}

export const ADAPTER_OPTIONS: OptionNames<AdapterOptions> = { onError: true, owned: true }

/** The error of a command that cannot be sent, with the cause. */
export function notConnected(client: RedisClient): StoreError {
  const problem = client.problem?.()
  return new StoreError(problem === undefined ? 'redis: not connected' : `redis: not connected: ${problem}`)
}

/** A client that comes and goes: errors are events, and without a listener they would end the process. */
export interface Emitting {
  on(event: string, listener: (argument: unknown) => void): unknown
  removeListener(event: string, listener: (argument: unknown) => void): unknown
}
