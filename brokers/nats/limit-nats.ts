import { policyError, UnsupportedError } from '../../src/errors.ts'
import type { GuardStats } from '../../src/guard.ts'
import type { Gate, PolicyChange } from '../../src/index.ts'
import { checkOptionNames, type OptionNames } from '../../src/option-names.ts'
import type {
  ConsumerFacts,
  JetStreamConsumer,
  JetStreamMessage,
  NatsConnection,
  NatsMessage,
  PullConsumer,
} from './client.ts'
import { type ConsumerIntake, consumeAll, PacedIntake, type PullOptions } from './consumption.ts'
import type { BaseCourse, Handler } from './course.ts'
import { Iteration, type Origin, type Source, Taker } from './iteration.ts'
import { JetStreamCourse } from './jetstream-course.ts'
import { courseOptions, learn } from './learn.ts'
import type { LimitNatsOptions } from './options.ts'
import { Permit } from './permit.ts'
import { Station, type Tally } from './station.ts'
import { CoreIntake, type Intake, type SubscribeOptions } from './subscription.ts'
import {
  ANYWHERE,
  assertSupported,
  consumerPlace,
  corePlace,
  findUnsupported,
  subjectsOf,
} from './support.ts'

export interface NatsStats extends GuardStats, Readonly<Tally> {
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
  ): Intake
  /** Serves requests; whoever may not pass is answered with 429, whatever the rule's outcome, and never with silence. */
  respond<M extends NatsMessage>(
    nc: NatsConnection<M>,
    subject: string,
    handler: Handler<M>,
    options?: { readonly queue?: string | undefined },
  ): Intake
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
  ): Promise<ConsumerIntake>
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
  const station = new Station(gate, options)
  const { settings } = station
  assertSupported(gate, ANYWHERE)

  const reload = (change: PolicyChange): void => {
    if (change.kind !== 'applied') return
    station.look()
    const places = [ANYWHERE, ...[...station.intakes].map(({ place }) => place)]
    const flaws = new Set(places.flatMap(place => findUnsupported(gate, place)))
    if (flaws.size > 0) station.trouble.note('policy', new UnsupportedError([...flaws].join('\n')))
  }
  gate.on('policy', reload)
  // JetStream brings what was sent back at the time it was given; it is asked about anew then.
  const forgetSlots = (): void => station.reservations.clear()
  gate.on('changed', forgetSlots)
  const endMeasures = gate.measures.add({
    queueDepth: () => station.guard.stats().held,
    consumerLag: () => furthest([...station.intakes].map(({ lag }) => lag)),
    handlers: true,
  })

  /** What is to be known of a consumer before its messages are taken. Throws UnsupportedError. */
  async function attach(consumer: Tellable): Promise<Attached> {
    const facts = await learn(consumer)
    const place = consumerPlace(facts, station.publisher !== undefined)
    assertSupported(gate, place)
    return { facts, place, permit: new Permit(gate, station.guard.clock, facts && subjectsOf(facts)) }
  }

  /** Nobody can see when the loop of who iterates is done with a message. */
  function assertUnbounded(method: string): void {
    if (!gate.handling.isBounded) return
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
  ): Promise<Iteration<M> | undefined> {
    const room = await attached.permit.wait(pull.max_messages ?? DEFAULT_BATCH, isOver)
    if (room === 0) return undefined
    return new Iteration(station, await consumer.fetch({ ...pull, max_messages: room }), attached)
  }

  async function stop(held: 'discard' | 'pass'): Promise<void> {
    station.draining = true
    gate.off('policy', reload)
    gate.off('changed', forgetSlots)
    endMeasures()
    // A connection that has gone keeps nobody from giving back the rest.
    await Promise.allSettled([...station.intakes].map(intake => intake.stop()))
    if (held === 'pass') station.guard.close('pass')
    for (const delivery of station.held) {
      const course = delivery.course as BaseCourse<NatsMessage>
      if (held === 'discard' || !course.passWaiting(delivery)) course.abandon(delivery)
    }
    station.guard.close('discard')
  }

  return {
    gate,
    subscribe(nc, subject, subscribing) {
      checkOptionNames<object>(subscribing, SUBSCRIBE_OPTIONS)
      const answering = subscribing.answer === true ? 'rejected' : 'none'
      return new CoreIntake(station, nc, subject, subscribing, answering)
    },
    respond(nc, subject, handler, options = {}) {
      checkOptionNames(options, { queue: true })
      const { queue } = options
      const serving = { callback: handler, ...(queue === undefined ? {} : { queue }) }
      return new CoreIntake(station, nc, subject, serving, 'all')
    },
    iterate(source, options = {}) {
      checkOptionNames(options, { consumer: true, answer: true })
      const { consumer, answer } = options
      assertUnbounded('iterate')
      const subject = source.consumerInfo === undefined ? source.getSubject?.() : undefined
      if (subject === undefined) return new Iteration(station, source, attach(consumer ?? source))
      const place = corePlace(subject, {})
      assertSupported(gate, place)
      return new Iteration(station, source, { place, facts: undefined }, answer)
    },
    async consume<M extends JetStreamMessage>(
      consumer: JetStreamConsumer<M>,
      handler: Handler<M>,
      pull: PullOptions = {},
    ) {
      checkOptionNames(pull, PULL_OPTIONS)
      const { facts, place, permit } = await attach(consumer)
      const course = new JetStreamCourse(station, handler, courseOptions(facts, settings))
      // Pulled in turns, it is asked for no more than there is room for.
      const isBounded = settings.isInFlightGiven || gate.handling.isBounded
      if (isPull(consumer) && (isBounded || permit.rules().size > 0))
        return new PacedIntake(station, consumer, course, permit, place, nameOf(facts), pull)
      return consumeAll(station, consumer, course, place, nameOf(facts), pull)
    },
    async fetch(consumer, pull = {}) {
      checkOptionNames(pull, PULL_OPTIONS)
      assertUnbounded('fetch')
      const attached = await attach(consumer)
      const batch = await fetchSome(consumer, attached, pull, () => station.draining)
      return batch ?? nothing()
    },
    async next(consumer, options = {}) {
      checkOptionNames(options, { expires: true })
      const { expires = DEFAULT_EXPIRES_MS } = options
      assertUnbounded('next')
      const attached = await attach(consumer)
      const { clock } = station.guard
      const endMs = clock.now() + expires
      const isOver = (): boolean => station.draining || clock.now() >= endMs
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
      const taker = new Taker(station, handler, undefined, true, answer)
      return message => taker.take(message)
    },
    stats: () => ({
      ...station.guard.stats(),
      ...station.tally,
      handling: station.handling,
      reserved: station.reservations.size,
      consumersDown: [...station.intakes].filter(({ problem }) => problem !== undefined).length,
      senders: station.senders.size,
    }),
    async drain(options = {}) {
      checkOptionNames(options, DRAIN_OPTIONS)
      const { timeoutMs = LONGEST_DRAIN_MS, held = 'discard' } = options
      await stop(held)
      await station.idle(timeoutMs)
    },
    close: () => stop('discard'),
    [Symbol.asyncDispose]: () => stop('discard'),
  }
}

/** Whoever can tell of a consumer. */
type Tellable = Parameters<typeof learn>[0]

interface Attached extends Origin {
  readonly permit: Permit
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
