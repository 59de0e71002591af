import { assertSupported, warnUnsupportedOnReload } from '../../src/broker-support/unsupported-outcomes.ts'
import { startAwaitedTimer } from '../../src/core/clock.ts'
import { UnsupportedError } from '../../src/core/errors.ts'
import type { Gate } from '../../src/gate/gate.ts'
import type { GuardStats } from '../../src/guard/guard.ts'
import { findUnsupported } from './capabilities.ts'
import { warnMissingClientInternals } from './client-internals.ts'
import type {
  AckCallback,
  CustomHandleAcks,
  DoneCallback,
  MqttJsPublishPacket,
  ReceivingClient,
} from './client-types.ts'
import { clientOptionsOf } from './client-types.ts'
import { Consumer } from './consumer.ts'
import { type ConsumerOptions, checkConsumerOptions } from './consumer-options.ts'
import type { MessageCounters } from './decision-executor.ts'
import type { ContinueReading } from './message.ts'

export interface ConsumerStats extends GuardStats, Readonly<MessageCounters> {
  /** Pings sent in the client's place while its handler was busy. */
  readonly pings: number
  /** Number of cached senders. */
  readonly senders: number
}

/** Limiter of a receiving client. */
export interface ConsumerLimiter {
  readonly gate: Gate
  stats(): ConsumerStats
  /**
   * Prepares a shutdown: accepts no new messages and waits until held messages have passed and the handler is done. After
   * `withinMs` (default: 10,000) messages that the broker will deliver again are left to it, and the others pass. Later
   * messages are not acknowledged, so end the client.
   */
  drain(withinMs?: number): Promise<void>
  /** Detaches the limiter from a running client. Held messages pass. */
  close(): void
  [Symbol.asyncDispose](): Promise<void>
}

const DEFAULT_DRAIN_MS = 10_000
const POLL_MS = 10

/**
 * Limits the messages that an MQTT.js 5 client receives, at QoS 0, 1 and 2, on MQTT 3.1.1 and 5. Passes allowed messages
 * to `handler` inside the client's `handleMessage`, one at a time, and acknowledges each when the handler is done. Do not
 * use `message` listeners: they see every message before it is decided.
 *
 * Refused messages: `drop` acknowledges and discards; `reject` answers 0x97 on MQTT 5 at QoS 1 and 2, else drops.
 * `throttle` leaves the message unacknowledged until the limits allow it, which makes the broker stop sending. `queue` and
 * `latest` acknowledge it and hold it in memory; `redirect` publishes it by `deadLetter`. Throws UnsupportedError if a rule
 * needs `retry`, `disconnect`, or `redirect` without such a client; in a policy loaded later these are logged, and drop.
 * Throws PolicyError for an invalid option.
 */
export function limitConsumer(
  client: ReceivingClient,
  gate: Gate,
  options: ConsumerOptions,
): ConsumerLimiter {
  checkConsumerOptions(client, options)
  if (limitedClients.has(client))
    throw new UnsupportedError(
      'the client already has a limiter (close it first, or connect a second client)',
    )
  const canRedirect = options.deadLetter !== undefined
  const findProblems = (): readonly string[] => findUnsupported(gate, canRedirect)
  assertSupported(findProblems())
  const consumer = new Consumer(client, gate, options)
  warnMissingClientInternals(client, consumer.logger)
  if (client.listenerCount('message') > 0) {
    consumer.logger.warn({}, 'listeners of "message" receive every message, including refused ones')
  }
  const detachAll = [
    replaceHandleMessage(consumer),
    wrapHandleAcks(consumer),
    listenToConnection(consumer),
    warnUnsupportedOnReload(gate, consumer.logger, findProblems),
  ]
  detachAll.push(gate.loadSources.add({ queueDepth: () => consumer.guard.stats().held, handlers: true }))
  limitedClients.add(client)
  let isAttached = true

  function close(): void {
    if (!isAttached) return
    isAttached = false
    for (const detach of detachAll) detach()
    consumer.state = 'closing'
    consumer.endSession()
    consumer.guard.close('pass')
    consumer.keepAlive.close()
    consumer.resumeReading()
    limitedClients.delete(client)
  }

  return {
    gate,
    stats: () => ({
      ...consumer.guard.stats(),
      ...consumer.counters,
      pings: consumer.keepAlive.pings,
      senders: consumer.senders.size,
    }),
    drain: async (withinMs = DEFAULT_DRAIN_MS) => {
      const { clock } = consumer.guard
      const deadlineMs = clock.now() + withinMs
      if (consumer.state === 'open') consumer.state = 'draining'
      while (consumer.state === 'draining' && !consumer.isIdle && clock.now() < deadlineMs) {
        await new Promise<void>(resolve => void startAwaitedTimer(clock, POLL_MS, resolve))
      }
      if (consumer.state !== 'draining') return
      consumer.state = 'ended'
      consumer.disconnected()
      consumer.guard.close('pass')
      consumer.keepAlive.close()
    },
    close,
    [Symbol.asyncDispose]: async () => close(),
  }
}

/** Clients with a limiter. Each client can have only one. */
const limitedClients = new WeakSet<ReceivingClient>()

/** Replaces `handleMessage`. Once detached, it calls the replaced function, even if it was wrapped since. */
function replaceHandleMessage(consumer: Consumer): () => void {
  const { client } = consumer
  const own = Object.getOwnPropertyDescriptor(client, 'handleMessage')
  const replaced = client.handleMessage
  let isAttached = true
  const handleMessage = (packet: MqttJsPublishPacket, done: DoneCallback): void => {
    if (isAttached) consumer.receive(packet, done)
    else replaced.call(client, packet, done)
  }
  client.handleMessage = handleMessage
  return () => {
    isAttached = false
    if (client.handleMessage !== handleMessage) return
    if (own === undefined) delete (client as Partial<ReceivingClient>).handleMessage
    else Object.defineProperty(client, 'handleMessage', own)
  }
}

/** Wraps the application's own `customHandleAcks` on MQTT 5, which is called first. */
function wrapHandleAcks(consumer: Consumer): () => void {
  const options = clientOptionsOf(consumer.client)
  if (options.protocolVersion !== 5) return () => {}
  const original = options.customHandleAcks as CustomHandleAcks
  let isAttached = true
  const handleAcks: CustomHandleAcks = (topic, payload, packet, answer) => {
    if (!isAttached) {
      original(topic, payload, packet, answer)
      return
    }
    original(topic, payload, packet, (error, code) => {
      const refusalCode = typeof error === 'number' ? error : code
      if (refusalCode || (error !== null && typeof error === 'object')) {
        if (refusalCode && packet.qos === 1) consumer.markRefused(packet)
        answer(error, code)
      } else if (packet.qos === 2) consumer.decideQoS2(topic, packet, toContinue(answer))
      else answer(null, 0)
    })
  }
  options.customHandleAcks = handleAcks
  return () => {
    isAttached = false
    if (options.customHandleAcks === handleAcks) options.customHandleAcks = original
  }
}

function toContinue(answer: AckCallback): ContinueReading {
  return result => {
    if (result instanceof Error) answer(result)
    else answer(null, result ?? 0)
  }
}

function listenToConnection(consumer: Consumer): () => void {
  const closed = (): void => consumer.disconnected()
  const connected = ({ sessionPresent }: { readonly sessionPresent?: boolean }): void => {
    if (sessionPresent !== true) consumer.endSession()
  }
  consumer.client.on('close', closed)
  consumer.client.on('connect', connected)
  return () => {
    consumer.client.removeListener('close', closed)
    consumer.client.removeListener('connect', connected)
  }
}
