import { systemClock } from '../../clock.ts'
import { StoreError } from '../../errors.ts'
import type { NotesWatch } from '../notes.ts'

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
  status(): AsyncIterable<{ readonly type: string }>
  isClosed(): boolean
  close(): Promise<void>
}

/** Headers as both generations of the client put them on the wire: by their method `encode`. */
interface Headers {
  encode(): Uint8Array
}

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

  constructor(connection: NatsConnection | Promise<NatsConnection>) {
    if (!(connection instanceof Promise)) this.#attach(connection)
    else connection.then(ready => this.#attach(ready)).catch(() => {})
  }

  get isUp(): boolean {
    return this.#isUp && this.#connection?.isClosed() === false
  }

  /** Asks the server. Rejects with StoreError, at once where there is no connection: nothing waits to be sent later. */
  async request(
    subject: string,
    payload: Uint8Array | string,
    deadlineMs: number,
    headers?: Headers,
  ): Promise<Uint8Array> {
    if (!this.isUp) throw new StoreError('nats: not connected')
    const timeout = deadlineMs - systemClock.now()
    if (timeout < 1) throw new StoreError('nats: no time left for an answer')
    const options = headers === undefined ? { timeout } : { timeout, headers }
    try {
      return (await this.#connection!.request(subject, payload, options)).data
    } catch (cause) {
      throw new StoreError(`nats: ${describe(cause)}`, { cause })
    }
  }

  /**
   * Calls `changed` with each message on a subject, which may hold wildcards, and when it is heard again or no more. The
   * client asks for the same anew when it is connected anew.
   */
  listen(subject: string, changed: () => void): NotesWatch {
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
    for await (const { type } of connection.status()) {
      if (type === 'disconnect') this.#turn(false)
      if (type === 'reconnect') this.#turn(true)
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

function describe(error: unknown): string {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  const text = `${String(code ?? '')} ${String(message ?? error)}`
  if (/503|no responders/i.test(text))
    return 'nobody answers: is JetStream enabled (nats-server --jetstream)?'
  return /timeout/i.test(text) ? 'no answer in time' : String(message ?? error)
}
