import type { Client } from 'aedes'
import { hashLongPart } from '../../src/core/bounded-text.ts'
import type { Decision } from '../../src/core/decision.ts'
import type { Message, Sender } from '../../src/core/message.ts'
import type { HeldCounts, HeldItem, HeldKind, HeldSource } from '../../src/index.ts'
import type { Connection } from './connection.ts'
import type { BrokerContext } from './context.ts'
import { AedesMessage, type PacketLike } from './message.ts'
import { refusalError } from './refusal-error.ts'

/** Members of aedes that are not in its types. */
interface Inside {
  readonly clients?: Readonly<Record<string, Client>> | undefined
  readonly persistence?: { createRetainedStream?(pattern: string): AsyncIterable<PacketLike> } | undefined
}
interface Subscribed {
  readonly subscriptions?: Readonly<Record<string, unknown>> | undefined
}

/** Subscriptions of a client id. */
interface Session {
  /** The client it belongs to; undefined while a persistent session is offline. */
  client: Client | undefined
  isClean: boolean
  readonly filters: Map<string, HeldItem>
}

type Done = (error?: Error | null) => void

/** Sender of retained messages that the application publishes, or that were there before. */
const UNKNOWN: Sender = Object.freeze({})

/**
 * Counts what the broker holds for its clients, for rules with `connections`, `subscriptions` and `retained`: connections from
 * their authentication to their end, subscriptions as long as their session, retained messages until they are cleared.
 */
export class Holdings implements HeldSource {
  readonly #context: BrokerContext
  readonly #counts: HeldCounts
  readonly #connections = new Map<Connection, HeldItem>()
  readonly #sessions = new Map<string, Session>()
  /** Retained messages by topic. */
  readonly #retained = new Map<string, HeldItem>()
  /** Topics that changed while those of the persistence are read; undefined otherwise. */
  #changed: Set<string> | undefined
  readonly #detach: () => void

  constructor(context: BrokerContext) {
    this.#context = context
    this.#counts = context.gate.held
    const { broker } = context
    const onClient = (client: Client): void => this.#registered(client)
    const onUnsubscribe = (filters: readonly string[], client: Client): void =>
      this.#unsubscribed(filters, client)
    broker.on('client', onClient)
    broker.on('unsubscribe', onUnsubscribe)
    const detachSource = this.#counts.attach(this)
    this.#detach = () => {
      broker.off('client', onClient)
      broker.off('unsubscribe', onUnsubscribe)
      detachSource()
    }
  }

  detach(): void {
    this.#detach()
  }

  isCounted(kind: HeldKind): boolean {
    return this.#counts.isCounted(kind)
  }

  /** Returns the refusal of one connection too many; counts nothing. */
  askConnect(client: Client, message: Message): Decision | undefined {
    if (!this.isCounted('connections')) return undefined
    return this.#counts.ask({ kind: 'connections', message, replaced: this.#takenOver(client) })
  }

  /** Counts an authenticated connection until it ends, or returns the refusal of one too many. */
  addConnection(client: Client, connection: Connection, message: Message): Decision | undefined {
    if (!this.isCounted('connections') || connection.isGone) return undefined
    const earlier = this.#takenOver(client)
    // The earlier one is counted until its socket is closed.
    const refusal = this.#counts.ask({ kind: 'connections', message, replaced: earlier })
    if (refusal !== undefined) return refusal
    this.#connections.set(connection, this.#counts.restore({ kind: 'connections', message }))
    return undefined
  }

  /** Returns the refusal of one subscription too many; counts nothing. */
  askSubscription(client: Client, message: Message): Decision | undefined {
    if (!this.isCounted('subscriptions')) return undefined
    const replaced = this.#sessionOf(client).filters.get(message.topic)
    return this.#counts.ask({ kind: 'subscriptions', message, replaced })
  }

  /** Counts a subscription until its session ends or it is withdrawn, or returns the refusal of one too many. */
  addSubscription(client: Client, message: Message): Decision | undefined {
    if (!this.isCounted('subscriptions')) return undefined
    const { filters } = this.#sessionOf(client)
    const replaced = filters.get(message.topic)
    const item = this.#counts.add({ kind: 'subscriptions', message, replaced })
    if ('outcome' in item) return item
    filters.set(message.topic, item)
    return undefined
  }

  /** Counts a subscription that a session brings back, over a limit too. */
  restoreSubscription(client: Client, sender: Sender, filter: string): void {
    if (!this.isCounted('subscriptions')) return
    const { filters } = this.#sessionOf(client)
    const message = new AedesMessage('subscribe', sender, { topic: filter })
    filters.set(
      filter,
      this.#counts.restore({ kind: 'subscriptions', message, replaced: filters.get(filter) }),
    )
  }

  /** Returns the refusal of one retained message, or byte of them, too many; counts nothing. */
  askRetained(message: Message): Decision | undefined {
    if (!this.isCounted('retained') || message.size === 0) return undefined
    const replaced = this.#retained.get(hashLongPart(message.topic))
    return this.#counts.ask({ kind: 'retained', message, bytes: bytesOf(message), replaced })
  }

  /** Publishes a retained message, if the limits have room for it. The application's own are counted, and never refused. */
  publishRetained(packet: PacketLike, client: unknown, published: Done, publish: (done: Done) => void): void {
    if (!this.isCounted('retained')) {
      publish(published)
      return
    }
    const connection = isClient(client) ? this.#context.connectionOf(client) : undefined
    const message = new AedesMessage('publish', connection?.sender ?? UNKNOWN, packet)
    const topic = hashLongPart(packet.topic)
    const replaced = this.#retained.get(topic)
    if (message.size === 0) {
      this.#changed?.add(topic)
      this.#counts.remove(replaced)
      this.#retained.delete(topic)
      publish(published)
      return
    }
    const added = { kind: 'retained', message, bytes: bytesOf(message), replaced } as const
    const item =
      connection === undefined ? this.#counts.restore({ ...added, isOwned: false }) : this.#counts.add(added)
    if ('outcome' in item) {
      this.#refuse(item, message, connection!)
      published(null)
      return
    }
    this.#changed?.add(topic)
    this.#retained.set(topic, item)
    publish(error => {
      // It was not stored.
      if (error && this.#retained.get(topic) === item) {
        this.#counts.remove(item)
        this.#retained.delete(topic)
      }
      published(error)
    })
  }

  /** A connection has ended: nothing is held for it any more but the subscriptions of a persistent session. */
  ended(client: Client, connection: Connection): void {
    this.#counts.remove(this.#connections.get(connection))
    this.#connections.delete(connection)
    const session = this.#sessions.get(client.id)
    if (session?.client !== client) return
    if (session.isClean || session.filters.size === 0) this.#dropSession(client.id, session)
    else session.client = undefined
  }

  count(kind: HeldKind): void {
    if (kind === 'retained') {
      void this.#readRetained()
      return
    }
    const { clients = {} } = this.#context.broker as unknown as Inside
    for (const client of Object.values(clients)) {
      if (client.closed) continue
      const connection = this.#context.connectionOf(client)
      const { sender } = connection
      if (kind === 'connections') {
        const message = new AedesMessage('connect', sender, { topic: 'connect' })
        this.#connections.set(connection, this.#counts.restore({ kind, message }))
      } else {
        const { subscriptions = {} } = client as Subscribed
        for (const filter of Object.keys(subscriptions)) this.restoreSubscription(client, sender, filter)
      }
    }
  }

  forget(kind: HeldKind): void {
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

  /** Counts retained messages the persistence holds already. Their senders are unknown. */
  async #readRetained(): Promise<void> {
    const { persistence } = this.#context.broker as unknown as Inside
    if (typeof persistence?.createRetainedStream !== 'function' || this.#changed !== undefined) return
    const changed = new Set<string>()
    this.#changed = changed
    let count = 0
    try {
      for await (const packet of persistence.createRetainedStream('#')) {
        if (!this.isCounted('retained')) break
        const topic = hashLongPart(packet.topic)
        if (changed.has(topic) || this.#retained.has(topic)) continue
        const message = new AedesMessage('publish', UNKNOWN, packet)
        const bytes = bytesOf(message)
        const item = this.#counts.restore({ kind: 'retained', message, bytes, isOwned: false })
        this.#retained.set(topic, item)
        count++
      }
      if (count > 0)
        this.#context.logger.info({ count }, 'retained messages that were there before count for nobody')
    } catch (err) {
      this.#context.logger.warn({ err }, 'retained messages that were there before could not be counted')
    } finally {
      this.#changed = undefined
    }
  }

  #refuse(decision: Decision, message: AedesMessage, connection: Connection): void {
    const { refusals, counters } = this.#context
    refusals.recordRefusal(message, decision)
    counters.dropped++
    if (connection.isGone) return
    const isTooMuch = connection.refused(message, decision)
    if (decision.outcome !== 'disconnect' && !isTooMuch) return
    counters.disconnected++
    connection.disconnect(refusalError(decision, 'publish'))
  }

  /** The connection whose place a client of the same id takes. */
  #takenOver(client: Client): HeldItem | undefined {
    const earlier = (this.#context.broker as unknown as Inside).clients?.[client.id]
    return earlier === undefined || earlier === client
      ? undefined
      : this.#connections.get(this.#context.connectionOf(earlier))
  }

  /** The session of a client; what an earlier one of its id held is dropped unless both are persistent. */
  #sessionOf(client: Client): Session {
    const known = this.#sessions.get(client.id)
    if (known?.client === client) return known
    if (known !== undefined) {
      if (known.isClean || client.clean) this.#dropFilters(known)
      known.client = client
      known.isClean = client.clean
      return known
    }
    const session = { client, isClean: client.clean, filters: new Map<string, HeldItem>() }
    this.#sessions.set(client.id, session)
    return session
  }

  /** A clean session ends a persistent one of the same client id; a persistent one holds what it brought back. */
  #registered(client: Client): void {
    const session = this.#sessions.get(client.id)
    if (session === undefined) return
    const { filters } = this.#sessionOf(client)
    const { subscriptions = {} } = client as Subscribed
    for (const [filter, item] of filters) {
      if (subscriptions[filter] !== undefined) continue
      this.#counts.remove(item)
      filters.delete(filter)
    }
  }

  #unsubscribed(withdrawn: readonly string[], client: Client): void {
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

/** Bytes a broker keeps of a retained message: topic and payload. */
function bytesOf({ topic, size }: Message): number {
  return Buffer.byteLength(topic) + size
}
