import type { Aedes, Client, ConnectPacket } from 'aedes'
import type { Logger } from '../../src/core/logger.ts'
import { pickOptions } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { GUARD_OPTIONS, Guard, type GuardOptions } from '../../src/guard/guard.ts'
import { RefusalLog } from '../../src/guard/refusal-log.ts'
import { brokerInternals } from './aedes-internals.ts'
import { ClientQueues } from './client-queues.ts'
import { Connection, type ConnectionContext } from './connection.ts'
import { FairReadScheduler } from './fair-read-scheduler.ts'
import { completeSettings, type LimitBrokerOptions, type LimitBrokerSettings } from './options.ts'
import { RefusalNotices } from './refusal-notices.ts'
import type { SharedReadState } from './socket-read-throttle.ts'

/** Messages by result, since the limiter was attached. */
export interface MessageCounters {
  /** Acknowledged and discarded, including messages superseded by a newer one. */
  dropped: number
  /** Delivered in a degraded form; published on another topic. */
  degraded: number
  redirected: number
  disconnected: number
  connectsRefused: number
  subscriptionsRefused: number
  /** Notices sent to refused clients. */
  notices: number
  willsRefused: number
  deliveriesRefused: number
  /** Deliveries that a rule refused but that were delivered, to keep the order of the subscriber's session. */
  deliveriesSpared: number
  /** Deliveries withheld from subscribers that do not read. */
  frozen: number
  /** Packets larger than `maxPacketBytes`, which closed their connections. */
  oversized: number
  /** Refused with an outcome that aedes cannot enact, and dropped instead. */
  unsupported: number
}

export type ConnectionListener = (client: Client, connection: Connection) => void

/** State shared by all parts of one broker's limiter: gate, guard, connections, counters. */
export class BrokerContext implements ConnectionContext {
  readonly broker: Aedes
  readonly gate: Gate
  readonly guard: Guard
  readonly settings: LimitBrokerSettings
  readonly logger: Logger
  readonly refusals: RefusalLog
  readonly notices: RefusalNotices | undefined
  readonly connections = new Set<Connection>()
  readonly queues = new ClientQueues()
  readonly sharedReads: SharedReadState
  /** Listeners called with each client that has sent its CONNECT. */
  readonly connectListeners = new Set<(client: Client) => void>()
  /** Listeners called with each new connection, and with each that has closed. */
  readonly openListeners = new Set<ConnectionListener>()
  readonly closeListeners = new Set<ConnectionListener>()
  /** Returns true if refused publishes may be hidden from the application's own `authorizePublish`. */
  mayFilterRaw: () => boolean = () => false
  /** Called before bytes of a connection are processed. */
  beforeReading: () => void = () => {}
  readonly counters: MessageCounters = {
    dropped: 0,
    degraded: 0,
    redirected: 0,
    disconnected: 0,
    connectsRefused: 0,
    subscriptionsRefused: 0,
    notices: 0,
    willsRefused: 0,
    deliveriesRefused: 0,
    deliveriesSpared: 0,
    frozen: 0,
    oversized: 0,
    unsupported: 0,
  }
  /** Key of the client property that holds its connection. Why: a property is found faster than a WeakMap entry. */
  readonly #connectionKey: symbol = Symbol('topicgate.connection')
  /** Key of the client property that holds its CONNECT until the connection is created. */
  readonly #connectKey: symbol = Symbol('topicgate.connect')
  #isStopped = false

  constructor(broker: Aedes, gate: Gate, options: LimitBrokerOptions) {
    this.broker = broker
    this.gate = gate
    this.settings = completeSettings(options, broker)
    this.notices = options.notices === undefined ? undefined : new RefusalNotices(options.notices, gate)
    this.logger = options.logger ?? gate.logger
    this.guard = new Guard(gate, {
      ...pickOptions(options as GuardOptions, GUARD_OPTIONS),
      holds: 'all',
      maxHeldPerSender: this.settings.maxHeldPerSender,
      logger: this.logger,
    })
    this.sharedReads = { pauses: 0, scheduler: new FairReadScheduler(this.guard.clock) }
    this.refusals = new RefusalLog(this.logger, this.guard.clock, message => gate.senderOf(message))
  }

  /** Stores a CONNECT, the only packet with username and keepalive. */
  recordConnect(client: Client, connect: ConnectPacket): void {
    ;(client as Client & Record<symbol, ConnectPacket | undefined>)[this.#connectKey] = connect
    for (const listener of this.connectListeners) listener(client)
  }

  isCurrent(client: Client): boolean {
    const { clients } = brokerInternals(this.broker)
    return client.id !== null && clients?.[client.id] === client
  }

  /** Returns the connection that a client id has now. */
  currentConnection(clientId: string): Connection | undefined {
    const { clients } = brokerInternals(this.broker)
    if (clients === undefined || !Object.hasOwn(clients, clientId)) return undefined
    return (clients[clientId] as Client & Record<symbol, Connection | undefined>)[this.#connectionKey]
  }

  /** Stops processing and acknowledging publishes; wills are still published. */
  stopAccepting(): void {
    this.#isStopped = true
    for (const connection of this.connections) connection.disconnectReason ??= 'shutdown'
  }

  /** Returns the connection of a client, created on first use: aedes knows the client id from `authenticate` on. */
  connectionOf(client: Client): Connection {
    const holder = client as Client & Record<symbol, Connection | undefined>
    const known = holder[this.#connectionKey]
    if (known !== undefined) return known
    // Packets in the same chunk as the CONNECT are parsed already.
    this.beforeReading()
    const connection = new Connection(this, client, this.#takeConnect(client))
    holder[this.#connectionKey] = connection
    if (this.#isStopped) connection.disconnectReason = 'shutdown'
    // The will of a closed client is its last message.
    if (client.closed) connection.handleClose()
    else this.connections.add(connection)
    for (const listener of this.openListeners) listener(client, connection)
    return connection
  }

  #takeConnect(client: Client): ConnectPacket | undefined {
    const holder = client as Client & Record<symbol, ConnectPacket | undefined>
    const connect = holder[this.#connectKey]
    if (connect !== undefined) holder[this.#connectKey] = undefined
    return connect
  }

  onConnectionClosed(client: Client, connection: Connection): void {
    this.connections.delete(connection)
    for (const listener of this.closeListeners) listener(client, connection)
  }
}
