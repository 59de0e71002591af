import { systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { SharedEntriesWatch } from '../shared-entries.ts'

/** Reply of a server. */
export interface NatsReply {
  readonly data: Uint8Array
}

/**
 * Used part of a NATS connection: of the package `nats` from 2.29 on, or of `@nats-io/transport-node` (or another
 * `@nats-io` transport) from 3 on.
 */
export interface NatsConnection {
  request(
    subject: string,
    payload?: Uint8Array | string,
    options?: { timeout: number; headers?: unknown },
  ): Promise<NatsReply>
  /** Subscribes; without it nodes find each other's changes by polling the store. */
  subscribe?(
    subject: string,
    options: { callback: (error: unknown, message: unknown) => void },
  ): { unsubscribe(): void }
  status(): AsyncIterable<{ readonly type: string; readonly error?: unknown; readonly data?: unknown }>
  isClosed(): boolean
  close(): Promise<void>
}

/** Headers as both generations of the client send them: through their method `encode`. */
interface Headers {
  encode(): Uint8Array
}

/** Added to the client's own request timeout. */
const CLIENT_MARGIN_MS = 1_000

/** Returns the time after which an answer is useless, in milliseconds of the machine's clock. */
export function deadlineIn(timeoutMs: number): number {
  return systemClock.now() + timeoutMs
}

/** Encodes header lines: `NATS/1.0` and one line per field. Values must not contain line breaks. */
export function makeHeaders(fields: Readonly<Record<string, string | number>>): Headers {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  const bytes = new TextEncoder().encode(`NATS/1.0\r\n${lines.join('')}\r\n`)
  return { encode: () => bytes }
}

/** Subscription on a subject. */
interface Listener {
  readonly subject: string
  readonly changed: () => void
  /** Unsubscribes at the server; undefined if not subscribed. */
  end: (() => void) | undefined
}

/** Connection that may not exist yet or may be lost for a while. */
export class NatsConnectionWrapper {
  #connection: NatsConnection | undefined
  #isUp = false
  readonly #listeners = new Set<Listener>()
  /** Returns why there is no connection yet. */
  readonly #connectProblem: () => string | undefined
  #problem: string | undefined

  constructor(
    connection: NatsConnection | Promise<NatsConnection>,
    dialProblem: () => string | undefined = () => undefined,
  ) {
    this.#connectProblem = dialProblem
    if (!(connection instanceof Promise)) this.#attach(connection)
    else connection.then(ready => this.#attach(ready)).catch(() => {})
  }

  get isUp(): boolean {
    return this.#isUp && this.#connection?.isClosed() === false
  }

  /** Returns the error of a request that cannot be sent, with the cause. */
  notConnected(): StoreError {
    const problem = this.#connection === undefined ? this.#connectProblem() : this.#problem
    return new StoreError(problem === undefined ? 'nats: not connected' : `nats: not connected: ${problem}`)
  }

  /** Sends a request. Rejects with StoreError, at once if there is no connection: requests are never queued. */
  async request(
    subject: string,
    payload: Uint8Array | string,
    deadlineMs: number,
    headers?: Headers,
  ): Promise<Uint8Array> {
    if (!this.isUp) throw this.notConnected()
    const timeout = deadlineMs - systemClock.now()
    if (timeout < 1) throw new StoreError('nats: no time left for an answer')
    // The client's own timeout is longer, because it does not know when the event loop was busy.
    const longer = { timeout: 2 * timeout + CLIENT_MARGIN_MS }
    const options = headers === undefined ? longer : { ...longer, headers }
    try {
      const reply = await withTimeout(systemClock, timeout, () =>
        this.#connection!.request(subject, payload, options),
      )
      return reply.data
    } catch (cause) {
      throw new StoreError(`nats: ${describeNatsError(cause)}`, { cause })
    }
  }

  /**
   * Calls `changed` for each message on a subject, which may contain wildcards, and when the subscription becomes
   * live or is lost. The client resubscribes after a reconnect.
   */
  listen(subject: string, changed: () => void): SharedEntriesWatch {
    const listener: Listener = { subject, changed, end: undefined }
    this.#listeners.add(listener)
    this.#subscribe(listener)
    const close = (): void => {
      this.#listeners.delete(listener)
      listener.end?.()
      listener.end = undefined
    }
    return { isLive: () => this.isUp && listener.end !== undefined, close }
  }

  /** Ends all subscriptions; the connection stays open. */
  endListening(): void {
    for (const { end } of this.#listeners) end?.()
    for (const listener of this.#listeners) listener.end = undefined
    this.#listeners.clear()
  }

  #attach(connection: NatsConnection): void {
    this.#connection = connection
    this.#isUp = true
    for (const listener of this.#listeners) this.#subscribe(listener)
    this.#notifyListeners()
    this.#follow(connection).catch(() => this.#setUp(false))
  }

  #subscribe(listener: Listener): void {
    const { subject, changed } = listener
    const callback = (error: unknown): void => {
      // A server that forbids the subscription has ended it with this error.
      if (error) listener.end = undefined
      changed()
    }
    try {
      const subscription = this.#connection?.subscribe?.(subject, { callback })
      if (subscription !== undefined) listener.end = () => subscription.unsubscribe()
    } catch {
      // The connection is already closed, so there is no subscription to end.
    }
  }

  /**
   * Follows the state of the connection until it closes. While it is lost, the client would queue publishes and send
   * them later.
   */
  async #follow(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      const { type } = status
      if (type === 'error') this.#problem = describeNatsError(status.error ?? status.data)
      if (type === 'disconnect') {
        this.#problem ??= 'the connection was lost'
        this.#setUp(false)
      }
      if (type === 'reconnect') {
        this.#problem = undefined
        this.#setUp(true)
      }
    }
  }

  #setUp(isUp: boolean): void {
    this.#isUp = isUp
    this.#notifyListeners()
  }

  #notifyListeners(): void {
    for (const { changed } of this.#listeners) changed()
  }
}

/** Returns the message of an error. */
export function describeNatsError(error: unknown): string {
  if (typeof error === 'string') return error
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  const text = `${String(code ?? '')} ${String(message ?? error)}`
  if (/503|no responders/i.test(text)) return 'no responders: is JetStream enabled (nats-server --jetstream)?'
  if (/timeout|no answer within/i.test(text)) return 'no answer in time'
  return String(message || code || error)
}
