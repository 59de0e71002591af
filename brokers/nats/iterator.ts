import type { MaybePromise } from '../../src/core/message.ts'
import { AsyncBuffer } from './async-buffer.ts'
import { ANYWHERE, assertSupported, type Place } from './capabilities.ts'
import type { ConsumerFacts, JetStreamMessage, NatsMessage } from './client.ts'
import { isJetStream } from './client-internals.ts'
import { processorOptions } from './consumer-info.ts'
import type { NatsContext } from './context.ts'
import { type Answering, CoreMessageProcessor } from './core-message-processor.ts'
import { JetStreamMessageProcessor } from './jetstream-message-processor.ts'
import type { Handler, MessageProcessor } from './message-processor.ts'
import type { MessageSource } from './subscription.ts'

/** What can be iterated: a subscription, or what a consumer gives. */
export interface Source<M> extends AsyncIterable<M> {
  close?(): Promise<unknown>
  unsubscribe?(): void
  /** Of subscriptions. */
  getSubject?(): string
  /** Of push consumers, `nats` version 2. */
  consumerInfo?(): Promise<ConsumerFacts>
}

/** Takes messages of either kind: which it is shows at the first. */
export class Taker<M extends NatsMessage> {
  readonly #context: NatsContext
  readonly #handler: Handler<M>
  readonly #facts: ConsumerFacts | undefined
  readonly #acks: boolean
  readonly #answering: Answering
  #processor: MessageProcessor<M> | undefined

  constructor(
    context: NatsContext,
    handler: Handler<M>,
    facts: ConsumerFacts | undefined,
    acks: boolean,
    answer: boolean,
  ) {
    this.#context = context
    this.#handler = handler
    this.#facts = facts
    this.#acks = acks
    this.#answering = answer ? 'rejected' : 'none'
  }

  get held(): number {
    return this.#processor?.held ?? 0
  }

  take(message: M): void {
    this.#processor ??= this.#courseFor(message)
    this.#processor.take(message)
  }

  #courseFor(message: M): MessageProcessor<M> {
    const processor = this.#makeCourse(message)
    // Who iterates handles messages in a loop of its own, which nobody can see into.
    processor.observed = this.#acks
    return processor
  }

  #makeCourse(message: M): MessageProcessor<M> {
    if (!isJetStream(message))
      return new CoreMessageProcessor(this.#context, this.#handler, {
        over: this.#context.publisher,
        answering: this.#answering,
      })
    const options = processorOptions(this.#facts, this.#context.settings)
    const processor = new JetStreamMessageProcessor<JetStreamMessage>(
      this.#context,
      this.#handler as unknown as Handler<JetStreamMessage>,
      { ...options, acks: options.acks && this.#acks },
    )
    return processor as unknown as MessageProcessor<M>
  }
}

/** What is to be known before the first message: where it comes from. */
export interface Origin {
  readonly place: Place
  readonly facts: ConsumerFacts | undefined
}

/** The messages of a source that may pass, when they may; the iterator's own pace slows the source down. */
export class MessageIterator<M extends NatsMessage> implements MessageSource, AsyncIterableIterator<M> {
  place: Place = ANYWHERE
  readonly #context: NatsContext
  readonly #source: Source<M>
  readonly #answer: boolean
  readonly #buffer = new AsyncBuffer<M>()
  #taker: Taker<M> | undefined
  #sourceEnded = false
  #stopped = false
  #error: { readonly cause: unknown } | undefined

  constructor(context: NatsContext, source: Source<M>, origin: MaybePromise<Origin>, answer = false) {
    this.#context = context
    this.#answer = answer
    this.#source = source
    context.sources.add(this)
    void this.#pump(origin)
  }

  get held(): number {
    return this.#taker?.held ?? 0
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<M>> {
    const value = await this.#buffer.take()
    if (value !== undefined) return { value, done: false }
    const error = this.#error
    // As a generator, which ends with its error and is done for all who ask later.
    this.#error = undefined
    if (error !== undefined) throw error.cause
    return { value: undefined, done: true }
  }

  /** The loop was left: nothing more is taken, and what JetStream has delivered goes back. */
  async return(): Promise<IteratorResult<M>> {
    await this.stop()
    return { value: undefined, done: true }
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    for (const message of this.#buffer.clear()) giveBack(message)
    try {
      if (this.#source.close !== undefined) await this.#source.close()
      else this.#source.unsubscribe?.()
    } catch {
      // The connection has gone, and the source with it.
    }
    this.#context.sources.delete(this)
    this.#buffer.end()
  }

  #pass(message: M): void {
    if (this.#stopped) giveBack(message)
    else this.#buffer.give(message)
    this.#considerEnd()
  }

  async #pump(origin: MaybePromise<Origin>): Promise<void> {
    try {
      const { place, facts } = await origin
      assertSupported(this.#context.gate, place)
      this.place = place
      const taker = new Taker<M>(this.#context, message => this.#pass(message), facts, false, this.#answer)
      this.#taker = taker
      for await (const message of this.#source) {
        if (this.#stopped) giveBack(message)
        else taker.take(message)
        await this.#buffer.room()
      }
    } catch (cause) {
      this.#error = { cause }
    }
    this.#sourceEnded = true
    this.#considerEnd()
  }

  /** What is held of a source that has ended still passes in its time. */
  #considerEnd(): void {
    if (!this.#sourceEnded || (this.held > 0 && !this.#stopped)) return
    this.#context.sources.delete(this)
    this.#buffer.end()
  }
}

function giveBack(message: NatsMessage): void {
  try {
    if (isJetStream(message)) message.nak()
  } catch {
    // The connection has gone: the server delivers again.
  }
}
