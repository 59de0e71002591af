import type { Client } from 'aedes'
import type { ResourceKind } from '../../src/chain/rules/resource-limit.ts'
import type { Decision } from '../../src/core/decision.ts'
import { hashLongPart } from '../../src/core/hash-long-part.ts'
import type { Message, Sender } from '../../src/core/message.ts'
import type { BrokerResource, ResourceCounts, ResourceHolder } from '../../src/gate/resource-counts.ts'
import { aedesClientInternals, brokerInternals } from './aedes-internals.ts'
import type { BrokerContext, ConnectionListener } from './broker-context.ts'
import type { Connection } from './connection.ts'
import { AedesMessage, type PacketLike } from './message.ts'
import { clientRefusalError } from './refusal-error.ts'

/** Subscriptions of a client id. */
interface Session {
  /** Client of the session; undefined while a persistent session is offline. */
  client: Client | undefined
  isClean: boolean
  readonly filters: Map<string, BrokerResource>
}

type Done = (error?: Error | null) => void

/** Sender of retained messages that the application published or that existed before. */
const UNKNOWN_SENDER: Sender = Object.freeze({})

/**
 * Counts connections, subscriptions and retained messages for rules that limit them. A connection counts from its
 * authentication to its end, a subscription as long as its session, a retained message until it is cleared.
 */
export class ResourceCounter implements ResourceHolder {
  readonly #context: BrokerContext
  readonly #counts: ResourceCounts
  readonly #connections = new Map<Connection, BrokerResource>()
  readonly #sessions = new Map<string, Session>()
  /** Retained messages by topic. */
  readonly #retained = new Map<string, BrokerResource>()
  /** Topics that changed while the persistence is being read; undefined otherwise. */
  #changedTopics: Set<string> | undefined
  readonly #detach: () => void

  constructor(context: BrokerContext) {
    this.#context = context
    this.#counts = context.gate.held
    const { broker, closeListeners } = context
    const onClosed: ConnectionListener = (client, connection) => this.#onClosed(client, connection)
    const onClient = (client: Client): void => this.#onClient(client)
    const onUnsubscribe = (filters: readonly string[], client: Client): void =>
      this.#onUnsubscribe(filters, client)
    closeListeners.add(onClosed)
    broker.on('client', onClient)
    broker.on('unsubscribe', onUnsubscribe)
    const detachSource = this.#counts.attach(this)
    this.#detach = () => {
      closeListeners.delete(onClosed)
      broker.off('client', onClient)
      broker.off('unsubscribe', onUnsubscribe)
      detachSource()
    }
  }

  detach(): void {
    this.#detach()
  }

  isCounted(kind: ResourceKind): boolean {
    return this.#counts.isCounted(kind)
  }

  /** Returns a refusal if another connection exceeds a limit; counts nothing. */
  checkConnection(client: Client, message: Message): Decision | undefined {
    if (!this.isCounted('connections')) return undefined
    return this.#counts.check({ kind: 'connections', message, replaced: this.#findReplaced(client) })
  }

  /** Counts an authenticated connection until it ends, or returns a refusal if it exceeds a limit. */
  addConnection(client: Client, connection: Connection, message: Message): Decision | undefined {
    if (!this.isCounted('connections') || connection.isClosed) return undefined
    const earlier = this.#findReplaced(client)
    // The earlier connection counts until its socket is closed.
    const refusal = this.#counts.check({ kind: 'connections', message, replaced: earlier })
    if (refusal !== undefined) return refusal
    this.#connections.set(connection, this.#counts.restore({ kind: 'connections', message }))
    return undefined
  }

  /** Returns a refusal if another subscription exceeds a limit; counts nothing. */
  checkSubscription(client: Client, message: Message): Decision | undefined {
    if (!this.isCounted('subscriptions')) return undefined
    const replaced = this.#sessionOf(client).filters.get(message.topic)
    return this.#counts.check({ kind: 'subscriptions', message, replaced })
  }

  /** Counts a subscription until it or its session ends, or returns a refusal if it exceeds a limit. */
  addSubscription(client: Client, message: Message): Decision | undefined {
    if (!this.isCounted('subscriptions')) return undefined
    const { filters } = this.#sessionOf(client)
    const replaced = filters.get(message.topic)
    const item = this.#counts.add({ kind: 'subscriptions', message, replaced })
    if ('outcome' in item) return item
    filters.set(message.topic, item)
    return undefined
  }

  /** Counts a subscription that a session restores, even above a limit. */
  restoreSubscription(client: Client, sender: Sender, filter: string): void {
    if (!this.isCounted('subscriptions')) return
    const { filters } = this.#sessionOf(client)
    const message = new AedesMessage('subscribe', sender, { topic: filter })
    filters.set(
      filter,
      this.#counts.restore({ kind: 'subscriptions', message, replaced: filters.get(filter) }),
    )
  }

  /** Returns a refusal if a retained message exceeds a limit by count or bytes; counts nothing. */
  checkRetained(message: Message): Decision | undefined {
    if (!this.isCounted('retained') || message.size === 0) return undefined
    const replaced = this.#retained.get(hashLongPart(message.topic))
    return this.#counts.check({ kind: 'retained', message, bytes: bytesOf(message), replaced })
  }

  /**
   * Publishes a retained message if the limits have room for it. Those of the application are counted but never
   * refused.
   */
  publishRetained(packet: PacketLike, client: unknown, published: Done, publish: (done: Done) => void): void {
    if (!this.isCounted('retained')) {
      publish(published)
      return
    }
    const connection = isClient(client) ? this.#context.connectionOf(client) : undefined
    const message = new AedesMessage('publish', connection?.sender ?? UNKNOWN_SENDER, packet)
    const topic = hashLongPart(packet.topic)
    const replaced = this.#retained.get(topic)
    if (message.size === 0) {
      this.#changedTopics?.add(topic)
      this.#counts.remove(replaced)
      this.#retained.delete(topic)
      publish(published)
      return
    }
    const added = { kind: 'retained', message, bytes: bytesOf(message), replaced } as const
    const item =
      connection === undefined ? this.#counts.restore({ ...added, isOwned: false }) : this.#counts.add(added)
    if ('outcome' in item) {
      this.#context.gate.forgetPayload(message)
      this.#refuse(item, message, connection!)
      published(null)
      return
    }
    this.#changedTopics?.add(topic)
    this.#retained.set(topic, item)
    publish(error => {
      // The message was not stored.
      if (error && this.#retained.get(topic) === item) {
        this.#counts.remove(item)
        this.#retained.delete(topic)
      }
      published(error)
    })
  }

  /** Removes the counts of a connection that has ended, except the subscriptions of a persistent session. */
  #onClosed(client: Client, connection: Connection): void {
    this.#counts.remove(this.#connections.get(connection))
    this.#connections.delete(connection)
    const session = this.#sessions.get(client.id)
    if (session?.client !== client) return
    if (session.isClean || session.filters.size === 0) this.#dropSession(client.id, session)
    else session.client = undefined
  }

  count(kind: ResourceKind): void {
    if (kind === 'retained') {
      void this.#readRetained()
      return
    }
    const { clients = {} } = brokerInternals(this.#context.broker)
    for (const client of Object.values(clients)) {
      if (client.closed) continue
      const connection = this.#context.connectionOf(client)
      const { sender } = connection
      if (kind === 'connections') {
        const message = new AedesMessage('connect', sender, { topic: 'connect' })
        this.#connections.set(connection, this.#counts.restore({ kind, message }))
      } else {
        const { subscriptions = {} } = aedesClientInternals(client)
        for (const filter of Object.keys(subscriptions)) this.restoreSubscription(client, sender, filter)
      }
    }
  }

  forget(kind: ResourceKind): void {
    if (kind === 'connections') {
      for (const item of this.#connections.values()) this.#counts.remove(item)
      this.#connections.clear()
    } else if (kind === 'subscriptions') {
      for (const [id, session] of this.#sessions) this.#dropSession(id, session)
    } else {
      for (const item of this.#retained.values()) this.#counts.remove(item)
      this.#retained.clear()
    }
  }

  /** Counts the retained messages that the persistence holds already. Their senders are unknown. */
  async #readRetained(): Promise<void> {
    const { persistence } = brokerInternals(this.#context.broker)
    if (typeof persistence?.createRetainedStream !== 'function' || this.#changedTopics !== undefined) return
    const changed = new Set<string>()
    this.#changedTopics = changed
    let count = 0
    try {
      for await (const packet of persistence.createRetainedStream('#')) {
        if (!this.isCounted('retained')) break
        const topic = hashLongPart(packet.topic)
        if (changed.has(topic) || this.#retained.has(topic)) continue
        const message = new AedesMessage('publish', UNKNOWN_SENDER, packet)
        const bytes = bytesOf(message)
        const item = this.#counts.restore({ kind: 'retained', message, bytes, isOwned: false })
        this.#retained.set(topic, item)
        count++
      }
      if (count > 0)
        this.#context.logger.info(
          { count },
          'existing retained messages do not count towards any limit of a sender',
        )
    } catch (err) {
      this.#context.logger.warn({ err }, 'existing retained messages could not be counted')
    } finally {
      this.#changedTopics = undefined
    }
  }

  #refuse(decision: Decision, message: AedesMessage, connection: Connection): void {
    const { refusals, counters } = this.#context
    refusals.recordRefusal(message, decision)
    counters.dropped++
    if (connection.isClosed) return
    const isTooMuch = connection.recordRefusal(message, decision)
    if (decision.outcome !== 'disconnect' && !isTooMuch) return
    counters.disconnected++
    connection.disconnect(clientRefusalError(decision, 'publish'))
  }

  /** Returns the count of the connection that a new client of the same id replaces. */
  #findReplaced(client: Client): BrokerResource | undefined {
    const earlier = brokerInternals(this.#context.broker).clients?.[client.id]
    return earlier === undefined || earlier === client
      ? undefined
      : this.#connections.get(this.#context.connectionOf(earlier))
  }

  /** Returns the session of a client. An earlier session of its id is dropped unless both are persistent. */
  #sessionOf(client: Client): Session {
    const known = this.#sessions.get(client.id)
    if (known?.client === client) return known
    if (known !== undefined) {
      if (known.isClean || client.clean) this.#dropFilters(known)
      known.client = client
      known.isClean = client.clean
      return known
    }
    const session = { client, isClean: client.clean, filters: new Map<string, BrokerResource>() }
    this.#sessions.set(client.id, session)
    return session
  }

  /**
   * Handles an accepted client: a clean session ends a persistent one of the same id, a persistent one keeps its
   * subscriptions.
   */
  #onClient(client: Client): void {
    const session = this.#sessions.get(client.id)
    if (session === undefined) return
    const { filters } = this.#sessionOf(client)
    const { subscriptions = {} } = aedesClientInternals(client)
    for (const [filter, item] of filters) {
      if (subscriptions[filter] !== undefined) continue
      this.#counts.remove(item)
      filters.delete(filter)
    }
  }

  #onUnsubscribe(withdrawn: readonly string[], client: Client): void {
    const session = this.#sessions.get(client.id)
    if (session?.client !== client) return
    for (const filter of withdrawn) {
      this.#counts.remove(session.filters.get(filter))
      session.filters.delete(filter)
    }
  }

  #dropSession(id: string, session: Session): void {
    this.#dropFilters(session)
    this.#sessions.delete(id)
  }

  #dropFilters({ filters }: Session): void {
    for (const item of filters.values()) this.#counts.remove(item)
    filters.clear()
  }
}

function isClient(value: unknown): value is Client {
  return typeof value === 'object' && value !== null
}

/** Returns the bytes a broker stores for a retained message: topic and payload. */
function bytesOf({ topic, size }: Message): number {
  return Buffer.byteLength(topic) + size
}
