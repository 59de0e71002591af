import { assertSupported } from '../../src/broker-support/unsupported-outcomes.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import { AsyncBuffer } from './async-buffer.ts'
import type { BaseMessageProcessor, Handler } from './base-message-processor.ts'
import { type Capabilities, findUnsupported, NATS_CAPABILITIES } from './capabilities.ts'
import { isJetStream } from './client-internals.ts'
import type { ConsumerInfo, JetStreamMessage, NatsMessage } from './client-types.ts'
import { type AnsweredRequests, CoreMessageProcessor } from './core-message-processor.ts'
import { JetStreamMessageProcessor, processorOptions } from './jetstream-message-processor.ts'
import type { LimiterContext } from './limiter-context.ts'
import type { MessageSource } from './message-source.ts'

/** Iterable source: a subscription, or messages of a consumer. */
export interface IterableSource<M> extends AsyncIterable<M> {
  close?(): Promise<unknown>
  unsubscribe?(): void
  /** Returns the subject of a subscription. */
  getSubject?(): string
  /** Returns information about a push consumer of `nats` version 2. */
  consumerInfo?(): Promise<ConsumerInfo>
}

/** Part of a processor that a receiver uses. */
type Receiving<M extends NatsMessage> = Pick<BaseMessageProcessor<M>, 'process' | 'held' | 'hasHandler'>

/** Receives messages of core NATS or JetStream. Chooses the processor by the first message. */
export class ProcessorSelector<M extends NatsMessage> {
  readonly #limiter: LimiterContext
  readonly #handler: Handler<M>
  readonly #info: ConsumerInfo | undefined
  readonly #hasHandler: boolean
  readonly #answering: AnsweredRequests
  #processor: Receiving<M> | undefined

  constructor(
    limiter: LimiterContext,
    handler: Handler<M>,
    info: ConsumerInfo | undefined,
    hasHandler: boolean,
    answer: boolean,
  ) {
    this.#limiter = limiter
    this.#handler = handler
    this.#info = info
    this.#hasHandler = hasHandler
    this.#answering = answer ? 'rejected' : 'none'
  }

  get held(): number {
    return this.#processor?.held ?? 0
  }

  receive(message: M): void {
    this.#processor ??= this.#createProcessor(message)
    this.#processor.process(message)
  }

  #createProcessor(message: M): Receiving<M> {
    const processor = this.#selectProcessor(message)
    // Handlers of an iterator run in the caller's loop, where their end cannot be observed.
    processor.hasHandler = this.#hasHandler
    return processor
  }

  #selectProcessor(message: M): Receiving<M> {
    if (!isJetStream(message))
      return new CoreMessageProcessor(this.#limiter, this.#handler, {
        publishTarget: this.#limiter.publisher,
        answering: this.#answering,
      })
    const options = processorOptions(this.#info, this.#limiter.settings)
    return new JetStreamMessageProcessor<M & JetStreamMessage>(this.#limiter, this.#handler, {
      ...options,
      acksAutomatically: options.acksAutomatically && this.#hasHandler,
    })
  }
}

/** Source information that must be known before the first message. */
export interface ConsumerSourceInfo {
  readonly capabilities: Capabilities
  readonly info: ConsumerInfo | undefined
}

/** Iterator over the messages that may pass. Its consumer's pace slows the source down. */
export class LimitedMessageIterator<M extends NatsMessage>
  implements MessageSource, AsyncIterableIterator<M>
{
  capabilities: Capabilities = NATS_CAPABILITIES
  readonly #limiter: LimiterContext
  readonly #source: IterableSource<M>
  readonly #answer: boolean
  readonly #buffer = new AsyncBuffer<M>()
  #receiver: ProcessorSelector<M> | undefined
  #hasSourceEnded = false
  #isStopped = false
  #error: { readonly cause: unknown } | undefined

  constructor(
    limiter: LimiterContext,
    source: IterableSource<M>,
    sourceInfo: MaybePromise<ConsumerSourceInfo>,
    answer = false,
  ) {
    this.#limiter = limiter
    this.#answer = answer
    this.#source = source
    limiter.sources.add(this)
    void this.#readSource(sourceInfo)
  }

  get held(): number {
    return this.#receiver?.held ?? 0
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<M>> {
    const value = await this.#buffer.next()
    if (value !== undefined) return { value, done: false }
    const error = this.#error
    // Like a generator, which throws its error once and is then done.
    this.#error = undefined
    if (error !== undefined) throw error.cause
    return { value: undefined, done: true }
  }

  /** Ends the iterator when its loop is left. Messages of JetStream go back. */
  async return(): Promise<IteratorResult<M>> {
    await this.stop()
    return { value: undefined, done: true }
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return
    this.#isStopped = true
    for (const message of this.#buffer.clear()) sendBack(message)
    try {
      if (this.#source.close !== undefined) await this.#source.close()
      else this.#source.unsubscribe?.()
    } catch {
      // The connection is closed, and the source with it.
    }
    this.#limiter.sources.delete(this)
    this.#buffer.end()
  }

  #addPassed(message: M): void {
    if (this.#isStopped) sendBack(message)
    else this.#buffer.push(message)
    this.#endIfDone()
  }

  async #readSource(sourceInfo: MaybePromise<ConsumerSourceInfo>): Promise<void> {
    try {
      const { capabilities, info } = await sourceInfo
      assertSupported(findUnsupported(this.#limiter.gate, capabilities))
      this.capabilities = capabilities
      const receiver = new ProcessorSelector<M>(
        this.#limiter,
        message => this.#addPassed(message),
        info,
        false,
        this.#answer,
      )
      this.#receiver = receiver
      for await (const message of this.#source) {
        if (this.#isStopped) sendBack(message)
        else receiver.receive(message)
        await this.#buffer.whenRoom()
      }
    } catch (cause) {
      this.#error = { cause }
    }
    this.#hasSourceEnded = true
    this.#endIfDone()
  }

  /** Ends the buffer when the source has ended and no message is held. */
  #endIfDone(): void {
    if (!this.#hasSourceEnded || (this.held > 0 && !this.#isStopped)) return
    this.#limiter.sources.delete(this)
    this.#buffer.end()
  }
}

function sendBack(message: NatsMessage): void {
  try {
    if (isJetStream(message)) message.nak()
  } catch {
    // The connection is closed. The server delivers again.
  }
}
