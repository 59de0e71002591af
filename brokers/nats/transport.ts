import type { Decision } from '../../src/core/decision.ts'
import type { Message } from '../../src/core/message.ts'
import type { Gate } from '../../src/index.ts'
import { type Degraded, degradeMessage } from '../../src/outcomes/degrade.ts'
import type { OutgoingMessage } from '../../src/publish/outgoing.ts'
import type { SendFailure, Transport } from '../../src/publish/types.ts'
import { findSizeProblem, type NatsPublishOptions } from './check-publish.ts'
import type { MakeHeaders } from './headers.ts'

/** The part of a connection that publishes, of either client generation. */
export interface PublishingConnection {
  publish(subject: string, payload?: Uint8Array | string, options?: NatsPublishOptions): void
  flush(): Promise<void>
  isClosed(): boolean
  isDraining?(): boolean
  closed?(): Promise<unknown>
  readonly info?: { readonly max_payload?: number } | undefined
  status(): AsyncIterable<{ readonly type: string }>
}

/** The part of a JetStream client that publishes. */
export interface PublishingJetStream {
  publish(subject: string, payload?: Uint8Array | string, options?: NatsPublishOptions): Promise<unknown>
}

/** Messages of core NATS that are written and not yet confirmed by a flush. */
interface Batch {
  readonly settles: ((failure?: SendFailure) => void)[]
}

/** Too many requests; a stream that is full or short of resources. */
const SLOW_DOWN: ReadonlySet<unknown> = new Set([429, '429', 10_023, 10_047, 10_076, 10_077])
/** No responders, which is JetStream or a leader on its way up. */
const NOT_THERE: ReadonlySet<unknown> = new Set([
  503,
  '503',
  10_008,
  10_039,
  'NoRespondersError',
  'JetStreamNotEnabled',
])

/** Hands messages to a NATS client: a window of what is not flushed, or of what JetStream has not acknowledged. */
export class NatsTransport implements Transport<NatsPublishOptions> {
  /** Of the rules that degrade. */
  gate: Gate | undefined
  readonly #connection: PublishingConnection
  readonly #jetStream: PublishingJetStream | undefined
  readonly #window: number
  readonly #make: MakeHeaders | undefined
  #ready = true
  readonly #underWay = new Map<(failure?: SendFailure) => void, NatsPublishOptions>()
  #batch: Batch | undefined

  constructor(
    connection: PublishingConnection,
    jetStream: PublishingJetStream | undefined,
    window: number,
    make: MakeHeaders | undefined,
  ) {
    this.#connection = connection
    this.#jetStream = jetStream
    this.#window = window
    this.#make = make
  }

  connected(isSo: boolean): void {
    this.#ready = isSo
    if (!isSo && this.#jetStream !== undefined) this.#loseAnswers()
  }

  /** Answers of a stream came to an inbox of the connection that is gone. The newest first: each goes before all that wait. */
  #loseAnswers(): void {
    const error = new Error('the connection closed before the stream answered')
    for (const done of [...this.#underWay.keys()].reverse())
      done({ error, slowDown: false, ...again(this.#underWay.get(done)) })
  }

  isReady(): boolean {
    return this.#ready && !this.#connection.isClosed() && !this.#connection.isDraining?.()
  }

  isEnded(): boolean {
    return this.#connection.isClosed()
  }

  failAll(error: Error): void {
    for (const settle of [...this.#underWay.keys()]) settle({ error, slowDown: false })
  }

  hasRoom(): boolean {
    return this.#underWay.size < this.#window
  }

  send(
    message: Message,
    given: NatsPublishOptions,
    decision: Decision,
    settle: (failure?: SendFailure) => void,
  ): void {
    const done = (failure?: SendFailure): void => {
      if (this.#underWay.delete(done)) settle(failure)
    }
    this.#underWay.set(done, given)
    try {
      const lesser = this.#lesser(message, decision)
      const payload = lesser?.payload ?? (message as OutgoingMessage).body
      const clientData = lesser === undefined ? given : this.#marked(given, lesser.headers)
      const tooLarge = findSizeProblem(
        { size: lesser?.payload?.length ?? message.size },
        this.#connection.info?.max_payload,
      )
      if (tooLarge !== undefined) {
        done({ error: tooLarge, slowDown: false })
        return
      }
      if (this.#jetStream === undefined) {
        this.#connection.publish(message.topic, payload, clientData)
        this.#join(done)
        return
      }
      this.#jetStream.publish(message.topic, payload, clientData).then(
        () => done(),
        (error: unknown) => done(failureOf(error, clientData)),
      )
    } catch (error) {
      done({ error, slowDown: false })
    }
  }

  /** One flush for all that is published in one go: its answer tells that the server has read them. */
  #join(done: (failure?: SendFailure) => void): void {
    if (this.#batch !== undefined) {
      this.#batch.settles.push(done)
      return
    }
    const batch: Batch = { settles: [done] }
    this.#batch = batch
    queueMicrotask(() => {
      this.#batch = undefined
      const end = (failure?: SendFailure): void => {
        for (const settle of batch.settles) settle(failure)
      }
      try {
        this.#connection.flush().then(
          () => end(),
          (error: unknown) => end({ error, slowDown: false }),
        )
      } catch (error) {
        end({ error, slowDown: false })
      }
    })
  }

  #lesser(message: Message, decision: Decision): Degraded | undefined {
    if (decision.outcome !== 'degrade') return undefined
    const plan = this.gate?.ruleOf(decision.rule ?? '')?.exceeded.degrade
    return plan && degradeMessage(plan, message, decision)
  }

  /** With the mark of the rule, on headers of their own: those given may be used for other messages, too. */
  #marked(given: NatsPublishOptions, marks: Readonly<Record<string, string>>): NatsPublishOptions {
    const names = Object.keys(marks)
    if (this.#make === undefined || names.length === 0) return given
    const headers = this.#make()
    for (const name of given.headers?.keys() ?? [])
      if (!names.includes(name)) for (const value of given.headers!.values(name)) headers.append(name, value)
    for (const name of names) headers.append(name, marks[name]!)
    return { ...given, headers }
  }
}

/** How a publish to a stream failed, and whether it may be sent again. */
function failureOf(error: unknown, given: NatsPublishOptions): SendFailure {
  const { name, code, status, api_error } = Object(error) as Readonly<Record<string, unknown>>
  const answered = Object(api_error) as Readonly<Record<string, unknown>>
  const marks = [code, status, answered.code, answered.err_code].filter(mark => mark !== undefined)
  if (marks.some(mark => SLOW_DOWN.has(mark))) return { error, slowDown: true }
  if (NOT_THERE.has(name) || marks.some(mark => NOT_THERE.has(mark)))
    return { error, slowDown: false, again: 'later' }
  // What the stream has answered is its last word; an answer that did not come is asked for again.
  return { error, slowDown: false, ...(api_error === undefined ? again(given) : {}) }
}

/** With a message id the stream stores once what is sent twice. */
function again(given: NatsPublishOptions | undefined): { readonly again?: 'now' } {
  return given?.msgID === undefined ? {} : { again: 'now' }
}
