import { afterAwaited } from '../../src/core/clock.ts'
import { UnsupportedError } from '../../src/core/errors.ts'
import type { GuardStats } from '../../src/guard/guard.ts'
import type { Gate, PolicyChange } from '../../src/index.ts'
import { assertSupported, findUnsupported } from './capabilities.ts'
import type { AnswerAck, Done, HandleAcks, PublishPacket, ReceivingClient } from './client.ts'
import { optionsOf } from './client.ts'
import { warnOfMissingInternals } from './client-internals.ts'
import { Consumer } from './consumer.ts'
import type { MessageCounters } from './handler-dispatch.ts'
import type { Continue } from './message.ts'
import { type ConsumerOptions, checkOptions } from './options.ts'

export interface ConsumerStats extends GuardStats, Readonly<MessageCounters> {
  /** Pings sent in the client's place while it was held. */
  readonly pings: number
  /** Senders that are remembered. */
  readonly senders: number
}

/** A limiter on a client that receives. */
export interface ConsumerLimits {
  readonly gate: Gate
  stats(): ConsumerStats
  /**
   * For a shutdown: takes nothing more in, and waits until all that is held has passed and the handler is done. After
   * `withinMs` (default: 10,000) what the broker will deliver again is left to it, and the rest passes. What comes then
   * is not acknowledged: end the client.
   */
  drain(withinMs?: number): Promise<void>
  /** Takes the limiter off a running client: it is as it was, and what was held passes. */
  close(): void
  [Symbol.asyncDispose](): Promise<void>
}

const DRAIN_MS = 10_000
const LOOK_MS = 10

/**
 * Limits what an MQTT.js 5 client receives, at QoS 0, 1 and 2, on MQTT 3.1.1 and 5. What passes is given to `handler`
 * inside the client's `handleMessage`, in place of `message` listeners, which see all that comes, before anything is
 * decided. One message at a time, and acknowledged once the handler is done.
 *
 * Refused messages: `drop` acknowledges and discards; `reject` answers 0x97 on MQTT 5 at QoS 1 and 2, else it is `drop`;
 * `throttle` leaves the message unacknowledged until it fits, which stops the broker sending; `queue` and `latest` acknowledge it and
 * hold it in memory; `redirect` publishes it by `deadLetter`. Throws UnsupportedError where a rule asks for `retry`,
 * `disconnect`, or `redirect` without such a client; in a policy loaded later these are warned of, and drop. Throws PolicyError
 * for an option that cannot be meant.
 */
export function limitConsumer(client: ReceivingClient, gate: Gate, options: ConsumerOptions): ConsumerLimits {
  checkOptions(client, options)
  if (limited.has(client))
    throw new UnsupportedError(
      'the client has a limiter already (close that one first, or connect a second client)',
    )
  const redirects = options.deadLetter !== undefined
  assertSupported(gate, redirects)
  const consumer = new Consumer(client, gate, options)
  warnOfMissingInternals(client, consumer.logger)
  if (client.listenerCount('message') > 0) {
    consumer.logger.warn({}, 'listeners of "message" see every message, also what is refused')
  }
  const detachAll = [takeDelivery(consumer), takeAcks(consumer), followConnection(consumer), warnOnReload()]
  detachAll.push(gate.loadSources.add({ queueDepth: () => consumer.guard.stats().held, handlers: true }))
  limited.add(client)
  let attached = true

  function warnOnReload(): () => void {
    const warn = (change: PolicyChange): void => {
      if (change.kind !== 'applied') return
      for (const flaw of findUnsupported(gate, redirects)) consumer.logger.warn({ flaw }, flaw)
    }
    gate.on('policy', warn)
    return () => void gate.off('policy', warn)
  }

  function close(): void {
    if (!attached) return
    attached = false
    for (const detach of detachAll) detach()
    consumer.state = 'closing'
    consumer.endSession()
    consumer.guard.close('pass')
    consumer.keepAlive.close()
    consumer.letGo()
    limited.delete(client)
  }

  return {
    gate,
    stats: () => ({
      ...consumer.guard.stats(),
      ...consumer.counters,
      pings: consumer.keepAlive.pings,
      senders: consumer.senders.size,
    }),
    drain: async (withinMs = DRAIN_MS) => {
      const { clock } = consumer.guard
      const deadlineMs = clock.now() + withinMs
      if (consumer.state === 'open') consumer.state = 'draining'
      while (consumer.state === 'draining' && !consumer.isIdle && clock.now() < deadlineMs) {
        await new Promise<void>(resolve => void afterAwaited(clock, LOOK_MS, resolve))
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

/** Clients with a limiter: a second one would take the place of the first. */
const limited = new WeakSet<ReceivingClient>()

/** Puts itself in the place of `handleMessage`. Once detached, it hands on to what it has replaced, whatever wraps it since. */
function takeDelivery(consumer: Consumer): () => void {
  const { client } = consumer
  const own = Object.getOwnPropertyDescriptor(client, 'handleMessage')
  const replaced = client.handleMessage
  let attached = true
  const handleMessage = (packet: PublishPacket, done: Done): void => {
    if (attached) consumer.take(packet, done)
    else replaced.call(client, packet, done)
  }
  client.handleMessage = handleMessage
  return () => {
    attached = false
    if (client.handleMessage !== handleMessage) return
    if (own === undefined) delete (client as Partial<ReceivingClient>).handleMessage
    else Object.defineProperty(client, 'handleMessage', own)
  }
}

/** Of MQTT 5: stands behind the application's own `customHandleAcks`, which is asked first. */
function takeAcks(consumer: Consumer): () => void {
  const options = optionsOf(consumer.client)
  if (options.protocolVersion !== 5) return () => {}
  const users = options.customHandleAcks as HandleAcks
  let attached = true
  const handleAcks: HandleAcks = (topic, payload, packet, answer) => {
    if (!attached) {
      users(topic, payload, packet, answer)
      return
    }
    users(topic, payload, packet, (error, code) => {
      const given = typeof error === 'number' ? error : code
      if (given || (error !== null && typeof error === 'object')) {
        if (given && packet.qos === 1) consumer.refuse(packet)
        answer(error, code)
      } else if (packet.qos === 2) consumer.acknowledge(topic, packet, answerWith(answer))
      else answer(null, 0)
    })
  }
  options.customHandleAcks = handleAcks
  return () => {
    attached = false
    if (options.customHandleAcks === handleAcks) options.customHandleAcks = users
  }
}

function answerWith(answer: AnswerAck): Continue {
  return given => {
    if (given instanceof Error) answer(given)
    else answer(null, given ?? 0)
  }
}

function followConnection(consumer: Consumer): () => void {
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
