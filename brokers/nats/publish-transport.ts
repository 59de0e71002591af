import type { Decision } from '../../src/core/decision.ts'
import type { Message } from '../../src/core/message.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { type Degraded, degradeMessage } from '../../src/outcomes/degrade.ts'
import type { OutgoingMessage } from '../../src/publish/outgoing-message.ts'
import type { PublishTransport, SendFailure } from '../../src/publish/types.ts'
import type { NatsPublishOptions } from './client-types.ts'
import type { HeadersFactory } from './headers.ts'

/** Part of a connection that publishes, of either client generation. */
export interface PublishingConnection {
  publish(subject: string, payload?: Uint8Array | string, options?: NatsPublishOptions): void
  flush(): Promise<void>
  isClosed(): boolean
  isDraining?(): boolean
  closed?(): Promise<unknown>
  readonly info?: { readonly max_payload?: number } | undefined
  status(): AsyncIterable<{ readonly type: string }>
}

/** Part of a JetStream client that publishes. */
export interface PublishingJetStream {
  publish(subject: string, payload?: Uint8Array | string, options?: NatsPublishOptions): Promise<unknown>
}

/** Messages of core NATS that are written but not confirmed by a flush. */
interface Batch {
  readonly settles: ((failure?: SendFailure) => void)[]
}

/** Codes for too many requests, and for a stream that is full or short of resources. */
const SLOW_DOWN_CODES: ReadonlySet<unknown> = new Set([429, '429', 10_023, 10_047, 10_076, 10_077])
/** Codes for no responders: JetStream or a leader is starting. */
const UNAVAILABLE_CODES: ReadonlySet<unknown> = new Set([
  503,
  '503',
  10_008,
  10_039,
  'NoRespondersError',
  'JetStreamNotEnabled',
])

/** Sends messages with a NATS client. Bounds the messages that are not flushed or not acknowledged by JetStream. */
export class NatsPublishTransport implements PublishTransport<NatsPublishOptions> {
  /** Gate whose rules degrade messages. */
  gate: Gate | undefined
  readonly #connection: PublishingConnection
  readonly #jetStream: PublishingJetStream | undefined
  readonly #window: number
  readonly #createHeaders: HeadersFactory | undefined
  #isConnected = true
  readonly #inFlight = new Map<(failure?: SendFailure) => void, NatsPublishOptions>()
  #batch: Batch | undefined

  constructor(
    connection: PublishingConnection,
    jetStream: PublishingJetStream | undefined,
    window: number,
    createHeaders: HeadersFactory | undefined,
  ) {
    this.#connection = connection
    this.#jetStream = jetStream
    this.#window = window
    this.#createHeaders = createHeaders
  }

  setConnected(isConnected: boolean): void {
    this.#isConnected = isConnected
    if (!isConnected && this.#jetStream !== undefined) this.#failUnanswered()
  }

  /** Fails messages whose answers went to the closed connection. Newest first, because each goes to the front of the queue. */
  #failUnanswered(): void {
    const error = new Error('the connection closed before the stream answered')
    for (const done of [...this.#inFlight.keys()].reverse())
      done({ error, slowDown: false, ...retryOf(this.#inFlight.get(done)) })
  }

  isReady(): boolean {
    return this.#isConnected && !this.#connection.isClosed() && !this.#connection.isDraining?.()
  }

  isEnded(): boolean {
    return this.#connection.isClosed()
  }

  failAll(error: Error): void {
    for (const settle of [...this.#inFlight.keys()]) settle({ error, slowDown: false })
  }

  hasRoom(): boolean {
    return this.#inFlight.size < this.#window
  }

  send(
    message: Message,
    options: NatsPublishOptions,
    decision: Decision,
    settle: (failure?: SendFailure) => void,
  ): void {
    const done = (failure?: SendFailure): void => {
      if (this.#inFlight.delete(done)) settle(failure)
    }
    this.#inFlight.set(done, options)
    try {
      const degraded = this.#degrade(message, decision)
      const payload = degraded?.payload ?? (message as OutgoingMessage).body
      const sentOptions = degraded === undefined ? options : this.#addMarks(options, degraded.headers)
      const tooLarge = findSizeProblem(
        { size: degraded?.payload?.length ?? message.size },
        this.#connection.info?.max_payload,
      )
      if (tooLarge !== undefined) {
        done({ error: tooLarge, slowDown: false })
        return
      }
      if (this.#jetStream === undefined) {
        this.#connection.publish(message.topic, payload, sentOptions)
        this.#addToBatch(done)
        return
      }
      this.#jetStream.publish(message.topic, payload, sentOptions).then(
        () => done(),
        (error: unknown) => done(failureOf(error, sentOptions)),
      )
    } catch (error) {
      done({ error, slowDown: false })
    }
  }

  /** Adds a message to the current flush. Its answer means that the server has read all of them. */
  #addToBatch(done: (failure?: SendFailure) => void): void {
    if (this.#batch !== undefined) {
      this.#batch.settles.push(done)
      return
    }
    const batch: Batch = { settles: [done] }
    this.#batch = batch
    queueMicrotask(() => {
      this.#batch = undefined
      const settleAll = (failure?: SendFailure): void => {
        for (const settle of batch.settles) settle(failure)
      }
      try {
        this.#connection.flush().then(
          () => settleAll(),
          (error: unknown) => settleAll({ error, slowDown: false }),
        )
      } catch (error) {
        settleAll({ error, slowDown: false })
      }
    })
  }

  #degrade(message: Message, decision: Decision): Degraded | undefined {
    if (decision.outcome !== 'degrade') return undefined
    const plan = this.gate?.ruleOf(decision.rule ?? '')?.exceeded.degrade
    return plan && degradeMessage(plan, message, decision)
  }

  /** Adds the rule's mark to a copy of the headers. The caller may use its own headers for other messages. */
  #addMarks(options: NatsPublishOptions, marks: Readonly<Record<string, string>>): NatsPublishOptions {
    const names = Object.keys(marks)
    if (this.#createHeaders === undefined || names.length === 0) return options
    const headers = this.#createHeaders()
    for (const name of options.headers?.keys() ?? [])
      if (!names.includes(name))
        for (const value of options.headers!.values(name)) headers.append(name, value)
    for (const name of names) headers.append(name, marks[name]!)
    return { ...options, headers }
  }
}

/** Returns an error if a payload exceeds the server's `max_payload`. */
export function findSizeProblem({ size }: { readonly size: number }, maxBytes = Infinity): Error | undefined {
  return size <= maxBytes
    ? undefined
    : new RangeError(`payload: ${size} bytes exceed the limit of the server, ${maxBytes} bytes.`)
}

/** Describes the failure of a publish to a stream, and whether it may be sent again. */
function failureOf(error: unknown, options: NatsPublishOptions): SendFailure {
  const { name, code, status, api_error } = Object(error) as Readonly<Record<string, unknown>>
  const apiError = Object(api_error) as Readonly<Record<string, unknown>>
  const codes = [code, status, apiError.code, apiError.err_code].filter(code => code !== undefined)
  if (codes.some(code => SLOW_DOWN_CODES.has(code))) return { error, slowDown: true }
  if (UNAVAILABLE_CODES.has(name) || codes.some(code => UNAVAILABLE_CODES.has(code)))
    return { error, slowDown: false, again: 'later' }
  // The stream's answer is final. A message without an answer may be sent again.
  return { error, slowDown: false, ...(api_error === undefined ? retryOf(options) : {}) }
}

/** Allows another attempt for a message with an id, which the stream stores once. */
function retryOf(options: NatsPublishOptions | undefined): { readonly again?: 'now' } {
  return options?.msgID === undefined ? {} : { again: 'now' }
}
