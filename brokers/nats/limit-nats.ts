import { policyError, UnsupportedError } from '../../src/core/errors.ts'
import { checkOptionNames, type OptionNames } from '../../src/core/option-names.ts'
import type { GuardStats } from '../../src/guard/guard.ts'
import type { Gate, PolicyChange } from '../../src/index.ts'
import {
  ANYWHERE,
  assertSupported,
  consumerPlace,
  corePlace,
  findUnsupported,
  subjectsOf,
} from './capabilities.ts'
import type {
  ConsumerFacts,
  JetStreamConsumer,
  JetStreamMessage,
  NatsConnection,
  NatsMessage,
  PullConsumer,
} from './client.ts'
import { type ConsumerSource, consumeAll, PacedSource, type PullOptions } from './consume.ts'
import { processorOptions, readConsumerInfo } from './consumer-info.ts'
import { type MessageCounters, NatsContext } from './context.ts'
import { MessageIterator, type Origin, type Source, Taker } from './iterator.ts'
import { JetStreamMessageProcessor } from './jetstream-message-processor.ts'
import type { Handler, MessageProcessor } from './message-processor.ts'
import type { LimitNatsOptions } from './options.ts'
import { PullBudget } from './pull-budget.ts'
import { CoreSource, type MessageSource, type SubscribeOptions } from './subscription.ts'

export interface NatsStats extends GuardStats, Readonly<MessageCounters> {
  /** Handlers that have not answered yet, and redirects and dead letters that are not confirmed yet. */
  readonly handling: number
  /** JetStream messages that were sent back and have a slot to come again. */
  readonly reserved: number
  /** Consumers that give no messages for now, because they are deleted, silent or refused. */
  readonly consumersDown: number
  /** Senders that are remembered. */
  readonly senders: number
}

export interface DrainOptions {
  /** How long handlers are waited for. Default: 30,000. */
  readonly timeoutMs?: number | undefined
  /**
   * What becomes of held messages of core NATS: requests that are answered here get 429, and the others forgotten, or
   * all pass at once. Those of JetStream are sent back. Default: discard.
   */
  readonly held?: 'discard' | 'pass' | undefined
}

/** A limiter of NATS subscriptions and JetStream consumers. */
export interface NatsLimits {
  readonly gate: Gate
  /** Subscribes, alone or in a queue group. Answers no requests, unless `answer` is set. */
  subscribe<M extends NatsMessage>(
    nc: NatsConnection<M>,
    subject: string,
    options: SubscribeOptions<M>,
  ): MessageSource
  /** Serves requests; whoever may not pass is answered with 429, whatever the rule's outcome, and never with silence. */
  respond<M extends NatsMessage>(
    nc: NatsConnection<M>,
    subject: string,
    handler: Handler<M>,
    options?: { readonly queue?: string | undefined },
  ): MessageSource
  /** The messages of a subscription or consumer that may pass, when they may. Who iterates acknowledges. */
  iterate<M extends NatsMessage>(
    source: Source<M>,
    options?: { readonly consumer?: JetStreamConsumer | undefined; readonly answer?: boolean | undefined },
  ): AsyncIterableIterator<M>
  /** Hands a consumer's messages to a handler. Pulls only what may pass where a limit is the whole consumer's. */
  consume<M extends JetStreamMessage>(
    consumer: JetStreamConsumer<M>,
    handler: Handler<M>,
    options?: PullOptions,
  ): Promise<ConsumerSource>
  /** A batch of a pull consumer, as an iterator of what may pass. Who iterates acknowledges. */
  fetch<M extends JetStreamMessage>(
    consumer: PullConsumer<M>,
    options?: PullOptions,
  ): Promise<AsyncIterableIterator<M>>
  /** The next message that may pass; null where none came in time. Who takes it acknowledges. */
  next<M extends JetStreamMessage>(
    consumer: PullConsumer<M>,
    options?: { readonly expires?: number | undefined },
  ): Promise<M | null>
  /** Returns a handler behind the limits, for a loop of the caller's own. It never throws. */
  wrap<M extends NatsMessage>(
    handler: Handler<M>,
    options?: { readonly answer?: boolean | undefined },
  ): (message: M) => void
  stats(): NatsStats
  /** Takes nothing more, sends back what JetStream has delivered and is held, and waits for the handlers. */
  drain(options?: DrainOptions): Promise<void>
  /** As `drain`, without waiting for the handlers. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const DRAIN_OPTIONS: OptionNames<DrainOptions> = { timeoutMs: true, held: true }

const SUBSCRIBE_OPTIONS: OptionNames<SubscribeOptions<NatsMessage>> = {
  queue: true,
  callback: true,
  lossy: true,
  leaveAt: true,
  answer: true,
}

const PULL_OPTIONS: OptionNames<PullOptions> = {
  max_messages: true,
  expires: true,
  idle_heartbeat: true,
  abort_on_missing_resource: true,
  onStatus: true,
}

const LONGEST_DRAIN_MS = 30_000
const DEFAULT_BATCH = 100
const DEFAULT_EXPIRES_MS = 30_000
/** Clients refuse to ask for less. */
const LEAST_EXPIRES_MS = 1_000

/**
 * Limits what comes from NATS: subscriptions, requests and JetStream consumers, of `nats` version 2 and `@nats-io/*`
 * version 3. Throws UnsupportedError when a rule asks for what NATS cannot do, here or where messages are taken, and
 * PolicyError for a gate that reads no NATS patterns. A policy loaded later that does is warned of, and such messages are dropped.
 */
export function limitNats(gate: Gate, options: LimitNatsOptions = {}): NatsLimits {
  if (gate.dialect !== 'nats')
    throw policyError('dialect', `the gate reads patterns of ${gate.dialect}`, "write dialect: 'nats'")
  const context = new NatsContext(gate, options)
  const { settings } = context
  assertSupported(gate, ANYWHERE)

  const reload = (change: PolicyChange): void => {
    if (change.kind !== 'applied') return
    context.look()
    const places = [ANYWHERE, ...[...context.sources].map(({ place }) => place)]
    const flaws = new Set(places.flatMap(place => findUnsupported(gate, place)))
    if (flaws.size > 0) context.errorLog.note('policy', new UnsupportedError([...flaws].join('\n')))
  }
  gate.on('policy', reload)
  // JetStream brings what was sent back at the time it was given; it is asked about anew then.
  const forgetSlots = (): void => context.retrySlots.clear()
  gate.on('changed', forgetSlots)
  const endMeasures = gate.loadSources.add({
    queueDepth: () => context.guard.stats().held,
    consumerLag: () => furthest([...context.sources].map(({ lag }) => lag)),
    handlers: true,
  })

  /** What is to be known of a consumer before its messages are taken. Throws UnsupportedError. */
  async function attach(consumer: Tellable): Promise<Attached> {
    const facts = await readConsumerInfo(consumer)
    const place = consumerPlace(facts, context.publisher !== undefined)
    assertSupported(gate, place)
    return { facts, place, pullBudget: new PullBudget(gate, context.guard.clock, facts && subjectsOf(facts)) }
  }

  /** Nobody can see when the loop of who iterates is done with a message. */
  function assertUnbounded(method: string): void {
    if (!gate.handlerMonitor.isBounded) return
    const why = 'limits of handlers at work (`inFlight`) cannot be kept to by'
    throw new UnsupportedError(
      `${why} ${method}: it cannot tell when a message is done (use consume, subscribe or gate.run)`,
    )
  }

  async function fetchSome<M extends JetStreamMessage>(
    consumer: PullConsumer<M>,
    attached: Attached,
    pull: PullOptions,
    isOver: () => boolean,
  ): Promise<MessageIterator<M> | undefined> {
    const room = await attached.pullBudget.wait(pull.max_messages ?? DEFAULT_BATCH, isOver)
    if (room === 0) return undefined
    return new MessageIterator(context, await consumer.fetch({ ...pull, max_messages: room }), attached)
  }

  async function stop(held: 'discard' | 'pass'): Promise<void> {
    context.draining = true
    gate.off('policy', reload)
    gate.off('changed', forgetSlots)
    endMeasures()
    // A connection that has gone keeps nobody from giving back the rest.
    await Promise.allSettled([...context.sources].map(intake => intake.stop()))
    if (held === 'pass') context.guard.close('pass')
    for (const delivery of context.held) {
      const processor = delivery.processor as MessageProcessor<NatsMessage>
      if (held === 'discard' || !processor.passWaiting(delivery)) processor.abandon(delivery)
    }
    context.guard.close('discard')
  }

  return {
    gate,
    subscribe(nc, subject, subscribing) {
      checkOptionNames<object>(subscribing, SUBSCRIBE_OPTIONS)
      const answering = subscribing.answer === true ? 'rejected' : 'none'
      return new CoreSource(context, nc, subject, subscribing, answering)
    },
    respond(nc, subject, handler, options = {}) {
      checkOptionNames(options, { queue: true })
      const { queue } = options
      const serving = { callback: handler, ...(queue === undefined ? {} : { queue }) }
      return new CoreSource(context, nc, subject, serving, 'all')
    },
    iterate(source, options = {}) {
      checkOptionNames(options, { consumer: true, answer: true })
      const { consumer, answer } = options
      assertUnbounded('iterate')
      const subject = source.consumerInfo === undefined ? source.getSubject?.() : undefined
      if (subject === undefined) return new MessageIterator(context, source, attach(consumer ?? source))
      const place = corePlace(subject, {})
      assertSupported(gate, place)
      return new MessageIterator(context, source, { place, facts: undefined }, answer)
    },
    async consume<M extends JetStreamMessage>(
      consumer: JetStreamConsumer<M>,
      handler: Handler<M>,
      pull: PullOptions = {},
    ) {
      checkOptionNames(pull, PULL_OPTIONS)
      const { facts, place, pullBudget } = await attach(consumer)
      const processor = new JetStreamMessageProcessor(context, handler, processorOptions(facts, settings))
      // Pulled in turns, it is asked for no more than there is room for.
      const isBounded = settings.isInFlightGiven || gate.handlerMonitor.isBounded
      if (isPull(consumer) && (isBounded || pullBudget.rules().size > 0))
        return new PacedSource(context, consumer, processor, pullBudget, place, nameOf(facts), pull)
      return consumeAll(context, consumer, processor, place, nameOf(facts), pull)
    },
    async fetch(consumer, pull = {}) {
      checkOptionNames(pull, PULL_OPTIONS)
      assertUnbounded('fetch')
      const attached = await attach(consumer)
      const batch = await fetchSome(consumer, attached, pull, () => context.draining)
      return batch ?? nothing()
    },
    async next(consumer, options = {}) {
      checkOptionNames(options, { expires: true })
      const { expires = DEFAULT_EXPIRES_MS } = options
      assertUnbounded('next')
      const attached = await attach(consumer)
      const { clock } = context.guard
      const endMs = clock.now() + expires
      const isOver = (): boolean => context.draining || clock.now() >= endMs
      while (!isOver()) {
        const pull = { max_messages: 1, expires: Math.max(LEAST_EXPIRES_MS, endMs - clock.now()) }
        const batch = await fetchSome(consumer, attached, pull, isOver)
        const passed = await batch?.next()
        if (passed !== undefined && !passed.done) return passed.value
      }
      return null
    },
    wrap(handler, options = {}) {
      checkOptionNames(options, { answer: true })
      const { answer = false } = options
      const taker = new Taker(context, handler, undefined, true, answer)
      return message => taker.take(message)
    },
    stats: () => ({
      ...context.guard.stats(),
      ...context.counters,
      handling: context.handling,
      reserved: context.retrySlots.size,
      consumersDown: [...context.sources].filter(({ problem }) => problem !== undefined).length,
      senders: context.senders.size,
    }),
    async drain(options = {}) {
      checkOptionNames(options, DRAIN_OPTIONS)
      const { timeoutMs = LONGEST_DRAIN_MS, held = 'discard' } = options
      await stop(held)
      await context.idle(timeoutMs)
    },
    close: () => stop('discard'),
    [Symbol.asyncDispose]: () => stop('discard'),
  }
}

/** Whoever can tell of a consumer. */
type Tellable = Parameters<typeof readConsumerInfo>[0]

interface Attached extends Origin {
  readonly pullBudget: PullBudget
}

function isPull<M extends JetStreamMessage>(consumer: JetStreamConsumer<M>): consumer is PullConsumer<M> {
  return typeof (consumer as Partial<PullConsumer<M>>).fetch === 'function'
}

function nameOf(facts: ConsumerFacts | undefined): string {
  const { name, stream_name: stream } = facts ?? {}
  return name === undefined ? 'the consumer' : `consumer ${name} of stream ${stream}`
}

function furthest(lags: readonly (number | undefined)[]): number | undefined {
  const known = lags.filter(lag => lag !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

async function* nothing<M>(): AsyncGenerator<M> {}
