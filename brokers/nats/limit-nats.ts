import { assertSupported, warnUnsupportedOnReload } from '../../src/broker-support/unsupported-outcomes.ts'
import { policyError, UnsupportedError } from '../../src/core/errors.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/gate/gate.ts'
import type { PolicyReloadResult } from '../../src/gate/gate-events.ts'
import type { GuardStats } from '../../src/guard/guard.ts'
import type { Handler } from './base-message-processor.ts'
import {
  consumerCapabilities,
  findUnsupported,
  NATS_CAPABILITIES,
  readFilterSubjects,
  subscriptionCapabilities,
} from './capabilities.ts'
import type {
  ConsumerInfo,
  JetStreamConsumer,
  JetStreamMessage,
  NatsConnection,
  NatsMessage,
  PullConsumer,
} from './client-types.ts'
import { LimitedCoreSubscription, type NatsSubscribeOptions } from './core-subscription.ts'
import { JetStreamMessageProcessor, processorOptions } from './jetstream-message-processor.ts'
import {
  type ConsumerSource,
  consumeUnpaced,
  PacedPullConsumer,
  type PullOptions,
} from './jetstream-source.ts'
import {
  type ConsumerSourceInfo,
  type IterableSource,
  LimitedMessageIterator,
  ProcessorSelector,
} from './limited-message-iterator.ts'
import { LimiterContext, type MessageCounters } from './limiter-context.ts'
import type { MessageSource } from './message-source.ts'
import type { LimitNatsOptions } from './options.ts'
import { PullBatchSize } from './pull-batch-size.ts'

export interface NatsStats extends GuardStats, Readonly<MessageCounters> {
  /** Number of pending handlers and of redirects and dead letters without a confirmation. */
  readonly handling: number
  /** JetStream messages that were sent back and have a redelivery slot. */
  readonly reserved: number
  /** Consumers that deliver no messages at present, because they are deleted, silent or refused. */
  readonly consumersDown: number
  /** Number of cached senders. */
  readonly senders: number
}

export interface DrainOptions {
  /** Longest wait for handlers. Default: 30,000. */
  readonly timeoutMs?: number | undefined
  /**
   * Treatment of held core NATS messages: `discard` answers requests with 429, if they are answered here, and drops the
   * others; `pass` lets all pass at once. JetStream messages are sent back. Default: discard.
   */
  readonly held?: 'discard' | 'pass' | undefined
}

/** Limiter of NATS subscriptions and JetStream consumers. */
export interface NatsLimiter {
  readonly gate: Gate
  /** Subscribes, optionally in a queue group. Answers requests only if `answer` is set. */
  subscribe<M extends NatsMessage>(
    nc: NatsConnection<M>,
    subject: string,
    options: NatsSubscribeOptions<M>,
  ): MessageSource
  /** Serves requests. Requests that may not pass are always answered with 429, whatever the rule's outcome. */
  respond<M extends NatsMessage>(
    nc: NatsConnection<M>,
    subject: string,
    handler: Handler<M>,
    options?: { readonly queue?: string | undefined },
  ): MessageSource
  /** Iterates over the messages of a subscription or consumer that may pass. The caller acknowledges them. */
  iterate<M extends NatsMessage>(
    source: IterableSource<M>,
    options?: { readonly consumer?: JetStreamConsumer | undefined; readonly answer?: boolean | undefined },
  ): AsyncIterableIterator<M>
  /** Passes a consumer's messages to a handler. Under limits of the whole consumer, pulls only what may pass. */
  consume<M extends JetStreamMessage>(
    consumer: JetStreamConsumer<M>,
    handler: Handler<M>,
    options?: PullOptions,
  ): Promise<ConsumerSource>
  /** Fetches a batch of a pull consumer as an iterator of messages that may pass. The caller acknowledges them. */
  fetch<M extends JetStreamMessage>(
    consumer: PullConsumer<M>,
    options?: PullOptions,
  ): Promise<AsyncIterableIterator<M>>
  /** Returns the next message that may pass, or null if none arrived in time. The caller acknowledges it. */
  next<M extends JetStreamMessage>(
    consumer: PullConsumer<M>,
    options?: { readonly expires?: number | undefined },
  ): Promise<M | null>
  /** Returns a handler that applies the limits, for the caller's own loop. It never throws. */
  wrap<M extends NatsMessage>(
    handler: Handler<M>,
    options?: { readonly answer?: boolean | undefined },
  ): (message: M) => void
  stats(): NatsStats
  /** Stops receiving, sends held JetStream messages back, and waits for the handlers. */
  drain(options?: DrainOptions): Promise<void>
  /** Stops like `drain`, but does not wait for the handlers. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const DRAIN_OPTIONS: KnownOptions<DrainOptions> = { timeoutMs: true, held: true }

const SUBSCRIBE_OPTIONS: KnownOptions<NatsSubscribeOptions<NatsMessage>> = {
  queue: true,
  callback: true,
  lossy: true,
  leaveAt: true,
  answer: true,
}

const PULL_OPTIONS: KnownOptions<PullOptions> = {
  max_messages: true,
  expires: true,
  idle_heartbeat: true,
  abort_on_missing_resource: true,
  onStatus: true,
}

const DEFAULT_DRAIN_MS = 30_000
const DEFAULT_BATCH = 100
const DEFAULT_EXPIRES_MS = 30_000
/** Minimum of the clients. */
const MIN_EXPIRES_MS = 1_000

/**
 * Limits messages from NATS: subscriptions, requests and JetStream consumers, of `nats` version 2 and `@nats-io/*` version
 * 3. Throws UnsupportedError if a rule needs what NATS cannot do, here or when a source is added, and PolicyError for a
 * gate without NATS patterns. A policy loaded later with such a rule is logged, and its messages are dropped.
 */
export function limitNats(gate: Gate, options: LimitNatsOptions = {}): NatsLimiter {
  if (gate.dialect !== 'nats')
    throw policyError('dialect', `the gate uses ${gate.dialect} patterns`, "write dialect: 'nats'")
  const limiter = new LimiterContext(gate, options)
  const { settings } = limiter
  assertSupported(findUnsupported(gate, NATS_CAPABILITIES))

  const reload = (change: PolicyReloadResult): void => {
    if (change.kind === 'applied') limiter.updateFromPolicy()
  }
  gate.on('policy', reload)
  const stopWarnings = warnUnsupportedOnReload(gate, limiter.logger, () => {
    const sources = [NATS_CAPABILITIES, ...[...limiter.sources].map(({ capabilities }) => capabilities)]
    return [...new Set(sources.flatMap(capabilities => findUnsupported(gate, capabilities)))]
  })
  // JetStream delivers returned messages at the given time. They are decided anew then.
  const forgetSlots = (): void => limiter.redeliverySlots.clear()
  gate.on('changed', forgetSlots)
  const removeLoadSource = gate.loadSources.add({
    queueDepth: () => limiter.guard.stats().held,
    consumerLag: () => maxLag([...limiter.sources].map(({ lag }) => lag)),
    handlers: true,
  })

  /** Reads the information about a consumer before its messages. Throws UnsupportedError. */
  async function attach(consumer: ConsumerWithInfo): Promise<AttachedConsumer> {
    const info = await readConsumerInfo(consumer)
    const capabilities = consumerCapabilities(info, limiter.publisher !== undefined)
    assertSupported(findUnsupported(gate, capabilities))
    return {
      info,
      capabilities,
      pullBatchSize: new PullBatchSize(gate, limiter.guard.clock, info && readFilterSubjects(info)),
    }
  }

  /** Throws UnsupportedError if handlers are limited, because the end of a caller's loop cannot be observed. */
  function assertHandlersUnlimited(method: string): void {
    if (!gate.handlerMonitor.hasInFlightLimits) return
    throw new UnsupportedError(
      `${method} cannot apply \`inFlight\` limits: it does not see when a message is done (use consume, subscribe or gate.run)`,
    )
  }

  async function fetchWithinBudget<M extends JetStreamMessage>(
    consumer: PullConsumer<M>,
    attached: AttachedConsumer,
    pull: PullOptions,
    isOver: () => boolean,
  ): Promise<LimitedMessageIterator<M> | undefined> {
    const room = await attached.pullBatchSize.wait(pull.max_messages ?? DEFAULT_BATCH, isOver)
    if (room === 0) return undefined
    return new LimitedMessageIterator(
      limiter,
      await consumer.fetch({ ...pull, max_messages: room }),
      attached,
    )
  }

  async function stop(held: 'discard' | 'pass'): Promise<void> {
    limiter.isDraining = true
    gate.off('policy', reload)
    stopWarnings()
    gate.off('changed', forgetSlots)
    removeLoadSource()
    // A closed connection must not keep the others from stopping.
    await Promise.allSettled([...limiter.sources].map(source => source.stop()))
    if (held === 'pass') limiter.guard.close('pass')
    for (const message of limiter.held) {
      const { processor } = message
      if (held === 'discard' || !processor.handleWaiting(message)) processor.abandon(message)
    }
    limiter.guard.close('discard')
  }

  return {
    gate,
    subscribe(nc, subject, subscribeOptions) {
      checkOptionNames<object>(subscribeOptions, SUBSCRIBE_OPTIONS)
      const answering = subscribeOptions.answer === true ? 'rejected' : 'none'
      return new LimitedCoreSubscription(limiter, nc, subject, subscribeOptions, answering)
    },
    respond(nc, subject, handler, options = {}) {
      checkOptionNames(options, { queue: true })
      const { queue } = options
      const serving = { callback: handler, queue }
      return new LimitedCoreSubscription(limiter, nc, subject, serving, 'all')
    },
    iterate(source, options = {}) {
      checkOptionNames(options, { consumer: true, answer: true })
      const { consumer, answer } = options
      assertHandlersUnlimited('iterate')
      const subject = source.consumerInfo === undefined ? source.getSubject?.() : undefined
      if (subject === undefined)
        return new LimitedMessageIterator(limiter, source, attach(consumer ?? source))
      const capabilities = subscriptionCapabilities(subject, {})
      assertSupported(findUnsupported(gate, capabilities))
      return new LimitedMessageIterator(limiter, source, { capabilities, info: undefined }, answer)
    },
    async consume<M extends JetStreamMessage>(
      consumer: JetStreamConsumer<M>,
      handler: Handler<M>,
      pull: PullOptions = {},
    ) {
      checkOptionNames(pull, PULL_OPTIONS)
      const { info, capabilities, pullBatchSize } = await attach(consumer)
      const processor = new JetStreamMessageProcessor(limiter, handler, processorOptions(info, settings))
      // A paced source pulls only as many messages as have room.
      const isBounded = settings.isMaxInFlightSet || gate.handlerMonitor.hasInFlightLimits
      if (isPull(consumer) && (isBounded || pullBatchSize.rules().size > 0))
        return new PacedPullConsumer(
          limiter,
          consumer,
          processor,
          pullBatchSize,
          capabilities,
          describeConsumer(info),
          pull,
        )
      return consumeUnpaced(limiter, consumer, processor, capabilities, describeConsumer(info), pull)
    },
    async fetch(consumer, pull = {}) {
      checkOptionNames(pull, PULL_OPTIONS)
      assertHandlersUnlimited('fetch')
      const attached = await attach(consumer)
      const batch = await fetchWithinBudget(consumer, attached, pull, () => limiter.isDraining)
      return batch ?? emptyIterator()
    },
    async next(consumer, options = {}) {
      checkOptionNames(options, { expires: true })
      const { expires = DEFAULT_EXPIRES_MS } = options
      assertHandlersUnlimited('next')
      const attached = await attach(consumer)
      const { clock } = limiter.guard
      const endMs = clock.now() + expires
      const isOver = (): boolean => limiter.isDraining || clock.now() >= endMs
      while (!isOver()) {
        const pull = { max_messages: 1, expires: Math.max(MIN_EXPIRES_MS, endMs - clock.now()) }
        const batch = await fetchWithinBudget(consumer, attached, pull, isOver)
        const passed = await batch?.next()
        if (passed !== undefined && !passed.done) return passed.value
      }
      return null
    },
    wrap(handler, options = {}) {
      checkOptionNames(options, { answer: true })
      const { answer = false } = options
      const receiver = new ProcessorSelector(limiter, handler, undefined, true, answer)
      return message => receiver.receive(message)
    },
    stats: () => ({
      ...limiter.guard.stats(),
      ...limiter.counters,
      handling: limiter.pendingWork.count,
      reserved: limiter.redeliverySlots.size,
      consumersDown: [...limiter.sources].filter(({ problem }) => problem !== undefined).length,
      senders: limiter.senders.size,
    }),
    async drain(options = {}) {
      checkOptionNames(options, DRAIN_OPTIONS)
      const { timeoutMs = DEFAULT_DRAIN_MS, held = 'discard' } = options
      await stop(held)
      await limiter.pendingWork.whenIdle(timeoutMs)
    },
    close: () => stop('discard'),
    [Symbol.asyncDispose]: () => stop('discard'),
  }
}

/** Consumer or source with information about its consumer. */
interface ConsumerWithInfo {
  info?(cached?: boolean): Promise<ConsumerInfo>
  consumerInfo?(): Promise<ConsumerInfo>
}

interface AttachedConsumer extends ConsumerSourceInfo {
  readonly pullBatchSize: PullBatchSize
}

/** Returns the information about a consumer, or undefined if it is not available. */
async function readConsumerInfo(consumer: ConsumerWithInfo): Promise<ConsumerInfo | undefined> {
  try {
    // A push subscription of `nats` 2 has an `info` with another meaning.
    return await (consumer.consumerInfo?.() ?? consumer.info?.(true))
  } catch {
    // A bound consumer may be without permission to ask. The options then apply.
    return undefined
  }
}

function isPull<M extends JetStreamMessage>(consumer: JetStreamConsumer<M>): consumer is PullConsumer<M> {
  return typeof (consumer as Partial<PullConsumer<M>>).fetch === 'function'
}

function describeConsumer(info: ConsumerInfo | undefined): string {
  const { name, stream_name: stream } = info ?? {}
  return name === undefined ? 'the consumer' : `consumer ${name} of stream ${stream}`
}

function maxLag(lags: readonly (number | undefined)[]): number | undefined {
  const known = lags.filter(lag => lag !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

async function* emptyIterator<M>(): AsyncGenerator<M> {}
