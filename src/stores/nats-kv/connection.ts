import { systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { SharedEntriesWatch } from '../shared-entries.ts'

/** What a server answers. */
export interface NatsReply {
  readonly data: Uint8Array
}

/**
 * What is used of a connection to NATS: that of the package `nats` from 2.29 on, and that of `@nats-io/transport-node`
 * (or any other transport of `@nats-io`) from 3 on.
 */
export interface NatsConnection {
  request(
    subject: string,
    payload?: Uint8Array | string,
    options?: { timeout: number; headers?: unknown },
  ): Promise<NatsReply>
  /** Without it nothing is heard, and nodes ask each other by way of the store. */
  subscribe?(
    subject: string,
    options: { callback: (error: unknown, message: unknown) => void },
  ): { unsubscribe(): void }
  status(): AsyncIterable<{ readonly type: string; readonly error?: unknown; readonly data?: unknown }>
  isClosed(): boolean
  close(): Promise<void>
}

/** Headers as both generations of the client put them on the wire: by their method `encode`. */
interface Headers {
  encode(): Uint8Array
}

/** Added to the client's own limit of a request. */
const CLIENT_MARGIN_MS = 1_000

/** The moment after which an answer is of no use, in milliseconds of the machine's clock. */
export function deadlineIn(timeoutMs: number): number {
  return systemClock.now() + timeoutMs
}

/** Header lines of the protocol, `NATS/1.0` and one for each field. Values must hold no line break. */
export function makeHeaders(fields: Readonly<Record<string, string | number>>): Headers {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  const bytes = new TextEncoder().encode(`NATS/1.0\r\n${lines.join('')}\r\n`)
  return { encode: () => bytes }
}

/** Somebody who wants to hear what is published. */
interface Listener {
  readonly subject: string
  readonly changed: () => void
  /** Ends what the server was asked for; undefined where it was not, or refused. */
  end: (() => void) | undefined
}

/** A connection that may not be there yet, and may be lost for a while. */
export class Link {
  #connection: NatsConnection | undefined
  #isUp = false
  readonly #listeners = new Set<Listener>()
  /** Why there is no connection yet, and what the connection reported last. */
  readonly #dialProblem: () => string | undefined
  #problem: string | undefined

  constructor(
    connection: NatsConnection | Promise<NatsConnection>,
    dialProblem: () => string | undefined = () => undefined,
  ) {
    this.#dialProblem = dialProblem
    if (!(connection instanceof Promise)) this.#attach(connection)
    else connection.then(ready => this.#attach(ready)).catch(() => {})
  }

  get isUp(): boolean {
    return this.#isUp && this.#connection?.isClosed() === false
  }

  /** The error of a request that cannot be sent, with the cause. */
  notConnected(): StoreError {
    const problem = this.#connection === undefined ? this.#dialProblem() : this.#problem
    return new StoreError(problem === undefined ? 'nats: not connected' : `nats: not connected: ${problem}`)
  }

  /** Asks the server. Rejects with StoreError, at once where there is no connection: nothing waits to be sent later. */
  async request(
    subject: string,
    payload: Uint8Array | string,
    deadlineMs: number,
    headers?: Headers,
  ): Promise<Uint8Array> {
    if (!this.isUp) throw this.notConnected()
    const timeout = deadlineMs - systemClock.now()
    if (timeout < 1) throw new StoreError('nats: no time left for an answer')
    // The client's own limit is longer: it does not know when the event loop was busy.
    const longer = { timeout: 2 * timeout + CLIENT_MARGIN_MS }
    const options = headers === undefined ? longer : { ...longer, headers }
    try {
      const reply = await withTimeout(systemClock, timeout, () =>
        this.#connection!.request(subject, payload, options),
      )
      return reply.data
    } catch (cause) {
      throw new StoreError(`nats: ${describe(cause)}`, { cause })
    }
  }

  /**
   * Calls `changed` with each message on a subject, which may hold wildcards, and when it is heard again or no more. The
   * client asks for the same anew when it is connected anew.
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

  /** Ends all listening; the connection itself stays open. */
  endListening(): void {
    for (const { end } of this.#listeners) end?.()
    for (const listener of this.#listeners) listener.end = undefined
    this.#listeners.clear()
  }

  #attach(connection: NatsConnection): void {
    this.#connection = connection
    this.#isUp = true
    for (const listener of this.#listeners) this.#subscribe(listener)
    this.#tellAll()
    this.#follow(connection).catch(() => this.#turn(false))
  }

  #subscribe(listener: Listener): void {
    const { subject, changed } = listener
    const callback = (error: unknown): void => {
      // A server that forbids it has ended it by this.
      if (error) listener.end = undefined
      changed()
    }
    try {
      const subscription = this.#connection?.subscribe?.(subject, { callback })
      if (subscription !== undefined) listener.end = () => subscription.unsubscribe()
    } catch {
      // A connection that is closed already: nothing is heard, nothing is to be ended.
    }
  }

  /** Ends with the connection. While it is lost, the client would keep what is published and send it later. */
  async #follow(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      const { type } = status
      if (type === 'error') this.#problem = describe(status.error ?? status.data)
      if (type === 'disconnect') {
        this.#problem ??= 'the connection was lost'
        this.#turn(false)
      }
      if (type === 'reconnect') {
        this.#problem = undefined
        this.#turn(true)
      }
    }
  }

  #turn(isUp: boolean): void {
    this.#isUp = isUp
    this.#tellAll()
  }

  #tellAll(): void {
    for (const { changed } of this.#listeners) changed()
  }
}

/** What went wrong, in words. */
export function describe(error: unknown): string {
  if (typeof error === 'string') return error
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  const text = `${String(code ?? '')} ${String(message ?? error)}`
  if (/503|no responders/i.test(text))
    return 'nobody answers: is JetStream enabled (nats-server --jetstream)?'
  if (/timeout|no answer within/i.test(text)) return 'no answer in time'
  return String(message || code || error)
}
