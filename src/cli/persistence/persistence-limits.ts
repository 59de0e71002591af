import type { Aedes, Client } from 'aedes'
import { brokerInternals } from '../../../brokers/aedes/aedes-internals.ts'
import { systemClock } from '../../core/clock.ts'
import { SILENT } from '../../core/logger.ts'
import { ThrottledLog } from '../../core/throttled-log.ts'
import type { Logger, MetricFamily } from '../../index.ts'
import type {
  AedesPersistence,
  PersistenceClient,
  StoredPacket,
  StoredSession,
  StoredSubscription,
} from './aedes-persistence.ts'
import { FairBudget } from './fair-budget.ts'
import type { PersistenceLimitOptions } from './limit-options.ts'

const REFUSED_TEXTS = {
  retained: 'a message was delivered but not retained: --max-retained or --max-retained-bytes is reached',
  session: 'a subscription of a persistent session was refused: --max-sessions is reached',
  queued: 'a message was not queued: --max-queued-messages or --max-queued-bytes is reached',
} as const

type Refused = keyof typeof REFUSED_TEXTS

interface RetainedMessage {
  readonly owner: string | undefined
  readonly bytes: number
}

interface SessionQueue {
  messages: number
  bytes: number
}

/** Thrown if a session may not be stored; aedes then closes the connection. */
const SESSIONS_FULL = new Error('the maximum number of sessions is reached')

/**
 * Bounds what a broker stores for its clients: retained messages, sessions and their queues. Retained messages are
 * shared fairly by publishers, sessions by users or addresses, bytes of queues by sessions.
 */
export class PersistenceLimits {
  readonly #options: PersistenceLimitOptions
  readonly #broker: Aedes
  readonly #persistence: AedesPersistence
  readonly #ownerOf: (client: Client) => string | undefined
  readonly #retained = new Map<string, RetainedMessage>()
  readonly #retainedCount: FairBudget
  readonly #retainedBytes: FairBudget
  /** Owner of each session by client id. */
  readonly #sessions = new Map<string, string | undefined>()
  readonly #sessionCount: FairBudget
  readonly #queues = new Map<string, SessionQueue>()
  #queuedMessages = 0
  readonly #queuedBytes: FairBudget
  readonly #refused: Record<Refused, number> = { retained: 0, session: 0, queued: 0 }
  #disconnected = 0
  readonly #logs: Readonly<Record<Refused, ThrottledLog>>

  /** `ownerOf` returns the user or address that a session counts for. */
  constructor(
    broker: Aedes,
    options: PersistenceLimitOptions,
    ownerOf: (client: Client) => string | undefined,
    logger: Logger | undefined,
  ) {
    this.#options = options
    this.#broker = broker
    this.#persistence = (broker as Aedes & { readonly persistence: AedesPersistence }).persistence
    this.#ownerOf = ownerOf
    this.#retainedCount = new FairBudget(options.maxRetained)
    this.#retainedBytes = new FairBudget(options.maxRetainedBytes)
    this.#sessionCount = new FairBudget(options.maxSessions)
    this.#queuedBytes = new FairBudget(options.maxQueuedBytes)
    const createLog = (): ThrottledLog => new ThrottledLog(systemClock, logger ?? SILENT)
    this.#logs = { retained: createLog(), session: createLog(), queued: createLog() }
    this.#wrapRetained()
    this.#wrapSessions()
    this.#wrapQueues()
  }

  /** Counts what earlier runs have stored. */
  async count(sessions: AsyncIterable<StoredSession>): Promise<void> {
    for await (const packet of this.#persistence.createRetainedStream('#')) this.#addRetained(packet)
    for await (const { clientId, queuedMessages, queuedBytes } of sessions) {
      this.#addSession(clientId, undefined)
      if (queuedMessages === 0) continue
      this.#queues.set(clientId, { messages: queuedMessages, bytes: queuedBytes })
      this.#queuedMessages += queuedMessages
      this.#queuedBytes.add(clientId, queuedBytes)
    }
  }

  collectMetrics(): readonly MetricFamily[] {
    const gauge = (name: string, help: string, value: number): MetricFamily => ({
      name: `topicgate_broker_${name}`,
      help,
      type: 'gauge',
      samples: [{ labels: {}, value }],
    })
    return [
      gauge('retained_messages', 'Retained messages.', this.#retained.size),
      gauge('retained_bytes', 'Bytes of retained messages and their topics.', this.#retainedBytes.used),
      gauge('sessions', 'Persistent sessions.', this.#sessions.size),
      gauge('queued_messages', 'Messages queued for persistent sessions.', this.#queuedMessages),
      gauge('queued_bytes', 'Bytes of messages queued for persistent sessions.', this.#queuedBytes.used),
      {
        name: 'topicgate_broker_storage_refused_total',
        help: 'Retained messages, sessions and queued messages refused because storage was full.',
        type: 'counter',
        samples: Object.entries(this.#refused).map(([kind, value]) => ({ labels: { kind }, value })),
      },
      {
        name: 'topicgate_broker_slow_sessions_closed_total',
        help: 'Connections closed because their session had too many unacknowledged messages.',
        type: 'counter',
        samples: [{ labels: {}, value: this.#disconnected }],
      },
    ]
  }

  #wrapRetained(): void {
    const persistence = this.#persistence
    const storeRetained = persistence.storeRetained.bind(persistence)
    persistence.storeRetained = async packet => {
      const { topic, clientId } = packet
      const replaced = this.#removeRetained(topic)
      if (packet.payload.length === 0) return storeRetained(packet)
      const bytes = bytesOf(packet)
      // A change of an own message is always possible if it takes no more room.
      const isOwn = replaced !== undefined && replaced.owner === clientId
      if (
        (isOwn || this.#retainedCount.hasRoom(clientId, 1)) &&
        ((isOwn && bytes <= replaced.bytes) || this.#retainedBytes.hasRoom(clientId, bytes))
      ) {
        this.#addRetained(packet)
        return storeRetained(packet)
      }
      this.#refuse('retained', { client: clientId, topic: topic.slice(0, 128) })
      // The stored message of the topic is out of date.
      if (replaced !== undefined) await storeRetained({ ...packet, payload: Buffer.alloc(0) })
    }
  }

  #addRetained(packet: StoredPacket): void {
    const retained = { owner: packet.clientId, bytes: bytesOf(packet) }
    this.#retained.set(packet.topic, retained)
    this.#retainedCount.add(retained.owner, 1)
    this.#retainedBytes.add(retained.owner, retained.bytes)
  }

  #removeRetained(topic: string): RetainedMessage | undefined {
    const retained = this.#retained.get(topic)
    if (retained === undefined) return undefined
    this.#retained.delete(topic)
    this.#retainedCount.remove(retained.owner, 1)
    this.#retainedBytes.remove(retained.owner, retained.bytes)
    return retained
  }

  #wrapSessions(): void {
    const persistence = this.#persistence
    const { authorizeSubscribe } = this.#broker
    this.#broker.authorizeSubscribe = (client, subscription, done) => {
      if (client !== null && !client.clean && !this.#hasRoomForSession(client)) {
        this.#refuse('session', { client: client.id.slice(0, 128) })
        done(null, null)
        return
      }
      authorizeSubscribe.call(this.#broker, client, subscription, done)
    }
    const addSubscriptions = persistence.addSubscriptions.bind(persistence)
    persistence.addSubscriptions = async (client, subscriptions) => {
      if (!this.#sessions.has(client.id)) {
        // Others may have taken the last places since the subscription was authorized.
        if (!this.#hasRoomForSession(client as Client)) throw SESSIONS_FULL
        this.#addSession(client.id, this.#ownerOf(client as Client))
      }
      return addSubscriptions(client, subscriptions)
    }
    const removeSubscriptions = persistence.removeSubscriptions.bind(persistence)
    persistence.removeSubscriptions = async (client, filters) => {
      await removeSubscriptions(client, filters)
      if ((await persistence.subscriptionsByClient(client)).length === 0) await this.#endSession(client)
    }
    const cleanSubscriptions = persistence.cleanSubscriptions.bind(persistence)
    persistence.cleanSubscriptions = async client => {
      if (!this.#sessions.has(client.id)) return
      await cleanSubscriptions(client)
      await this.#endSession(client)
    }
  }

  #hasRoomForSession(client: Client): boolean {
    return this.#sessions.has(client.id) || this.#sessionCount.hasRoom(this.#ownerOf(client), 1)
  }

  #addSession(clientId: string, owner: string | undefined): void {
    this.#sessions.set(clientId, owner)
    this.#sessionCount.add(owner, 1)
  }

  /** Removes a session and its queue, which the persistence keeps. */
  async #endSession(client: PersistenceClient): Promise<void> {
    if (!this.#sessions.has(client.id)) return
    this.#sessionCount.remove(this.#sessions.get(client.id), 1)
    this.#sessions.delete(client.id)
    const queue = this.#queues.get(client.id)
    if (queue === undefined) return
    this.#queues.delete(client.id)
    this.#queuedMessages -= queue.messages
    this.#queuedBytes.remove(client.id, queue.bytes)
    for await (const packet of this.#persistence.outgoingStream(client))
      await this.#persistence.outgoingClearMessageId(client, packet)
  }

  #wrapQueues(): void {
    const persistence = this.#persistence
    const outgoingEnqueue = persistence.outgoingEnqueue.bind(persistence)
    persistence.outgoingEnqueue = async (subscription, packet) => {
      if (this.#addQueued(subscription, packet)) await outgoingEnqueue(subscription, packet)
    }
    const outgoingEnqueueCombi = persistence.outgoingEnqueueCombi.bind(persistence)
    persistence.outgoingEnqueueCombi = async (subscriptions, packet) => {
      if (subscriptions.length === 0) return
      const accepted = subscriptions.filter(subscription => this.#addQueued(subscription, packet))
      if (accepted.length > 0) await outgoingEnqueueCombi(accepted, packet)
    }
    const outgoingClearMessageId = persistence.outgoingClearMessageId.bind(persistence)
    persistence.outgoingClearMessageId = async (client, packet) => {
      const removed = await outgoingClearMessageId(client, packet)
      if (removed !== undefined) this.#removeQueued(client.id)
      return removed
    }
  }

  /**
   * Counts a message of a session; returns false if it may not be queued. A connected client that acknowledges too
   * slowly is disconnected instead, as aedes cannot deliver a message that is not queued.
   */
  #addQueued({ clientId, qos = 1 }: StoredSubscription, packet: StoredPacket): boolean {
    if (qos === 0) return false
    const bytes = bytesOf(packet)
    const queue = this.#queues.get(clientId) ?? { messages: 0, bytes: 0 }
    const isFull =
      queue.messages >= this.#options.maxQueuedMessages || !this.#queuedBytes.hasRoom(clientId, bytes)
    const client = isFull ? brokerInternals(this.#broker).clients?.[clientId] : undefined
    if (isFull && (client === undefined || client.closed)) {
      this.#refuse('queued', { client: clientId.slice(0, 128), topic: packet.topic.slice(0, 128) })
      return false
    }
    queue.messages++
    queue.bytes += bytes
    this.#queues.set(clientId, queue)
    this.#queuedMessages++
    this.#queuedBytes.add(clientId, bytes)
    if (client !== undefined) {
      this.#disconnected++
      client.close()
    }
    return true
  }

  /** Counts a removed message with the average size of its queue, because packets change while they are sent. */
  #removeQueued(clientId: string): void {
    const queue = this.#queues.get(clientId)
    if (queue === undefined) return
    const bytes = Math.ceil(queue.bytes / queue.messages)
    queue.messages--
    queue.bytes -= bytes
    this.#queuedMessages--
    this.#queuedBytes.remove(clientId, bytes)
    if (queue.messages === 0) this.#queues.delete(clientId)
  }

  #refuse(kind: Refused, fields: object): void {
    this.#refused[kind]++
    this.#logs[kind].log(fields, REFUSED_TEXTS[kind])
  }
}

function bytesOf({ topic, payload }: StoredPacket): number {
  return Buffer.byteLength(topic) + payload.length
}
