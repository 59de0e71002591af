import type { Aedes, Client, ConnectPacket } from 'aedes'
import type { Logger } from '../../src/core/logger.ts'
import { pickOptions } from '../../src/core/option-names.ts'
import { GUARD_OPTIONS, Guard, type GuardOptions } from '../../src/guard/guard.ts'
import { RefusalLog } from '../../src/guard/refusal-log.ts'
import type { Gate } from '../../src/index.ts'
import { Connection, type ConnectionContext } from './connection.ts'
import { Deliveries } from './deliver.ts'
import { Holdings } from './holdings.ts'
import { Notices } from './notices.ts'
import { completeSettings, type LimitBrokerOptions, type Settings } from './options.ts'
import { PacketSizeLimit } from './packet-size.ts'
import { ReadScheduler } from './read-scheduler.ts'
import type { Crowd } from './read-throttle.ts'
import { SenderQueues } from './sender-queues.ts'

/** What was done with messages since the limiter was attached. */
export interface MessageCounters {
  /** Acknowledged and discarded; what a newer one took the place of is `superseded`. */
  dropped: number
  /** Delivered in a cheaper form, and published on another topic. */
  degraded: number
  redirected: number
  disconnected: number
  connectsRefused: number
  subscriptionsRefused: number
  /** Clients told of a refusal, on their own topics. */
  notices: number
  willsRefused: number
  deliveriesRefused: number
  /** Deliveries a rule refused that could not be withheld without harm to the subscriber's session. */
  deliveriesSpared: number
  /** Deliveries withheld from subscribers that do not read. */
  frozen: number
  /** Packets larger than `maxPacketBytes`, whose connections were closed. */
  oversized: number
  /** Refused with an outcome aedes cannot enact, and dropped instead. */
  unsupported: number
}

/** All that one limiter of one broker shares: gate, guard, connections, counts. */
export class BrokerContext implements ConnectionContext {
  readonly broker: Aedes
  readonly gate: Gate
  readonly guard: Guard
  readonly settings: Settings
  readonly logger: Logger
  readonly refusals: RefusalLog
  readonly notices: Notices | undefined
  readonly deliveries: Deliveries
  readonly holdings: Holdings
  readonly sizes = new PacketSizeLimit(this)
  readonly connections = new Set<Connection>()
  readonly queues = new SenderQueues()
  readonly crowd: Crowd
  /** Told of each socket that has sent its CONNECT. */
  readonly greetings = new Set<(socket: object) => void>()
  /** Whether refused publishes may stay unseen by the application's own `authorizePublish`, if there is one. */
  mayFilterRaw: () => boolean = () => false
  /** Called before anything a connection has received is taken. */
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
  /** Where a client carries its connection: a property is found faster than an entry of a WeakMap. */
  readonly #place: symbol = Symbol('topicgate.connection')
  readonly #connects = new WeakMap<Client, ConnectPacket>()
  #ended = false

  constructor(broker: Aedes, gate: Gate, options: LimitBrokerOptions) {
    this.broker = broker
    this.gate = gate
    this.settings = completeSettings(options, broker)
    this.notices = options.notices === undefined ? undefined : new Notices(options.notices, gate)
    this.logger = options.logger ?? gate.logger
    this.guard = new Guard(gate, {
      ...pickOptions(options as GuardOptions, GUARD_OPTIONS),
      holds: 'all',
      maxHeldPerSender: this.settings.maxHeldPerSender,
      logger: this.logger,
    })
    this.crowd = { pauses: 0, scheduler: new ReadScheduler(this.guard.clock) }
    this.refusals = new RefusalLog(this.logger, this.guard.clock, message => gate.senderOf(message))
    this.deliveries = new Deliveries(this)
    this.holdings = new Holdings(this)
  }

  /** Remembers a CONNECT: only there username and keepalive are told. */
  greet(client: Client, connect: ConnectPacket): void {
    this.#connects.set(client, connect)
    this.sizes.watch(client)
    const socket = client.req?.socket ?? client.conn
    for (const listener of this.greetings) listener(socket)
  }

  isCurrent(client: Client): boolean {
    const { clients } = this.broker as unknown as { readonly clients?: Readonly<Record<string, Client>> }
    return client.id !== null && clients?.[client.id] === client
  }

  /** Takes no publish any more, nor acknowledges one; only wills go their way. */
  end(): void {
    this.#ended = true
    for (const connection of this.connections) connection.disconnecting = true
  }

  /** The connection of a client, made when first asked for: aedes knows the client's id from `authenticate` on. */
  connectionOf(client: Client): Connection {
    const places = client as unknown as Record<symbol, Connection | undefined>
    const known = places[this.#place]
    if (known !== undefined) return known
    // What came in one chunk with the CONNECT is parsed already.
    this.beforeReading()
    const connection = new Connection(this, client, this.#connects.get(client))
    places[this.#place] = connection
    connection.disconnecting = this.#ended
    // The will of a client that has gone is the last that is asked for.
    if (client.closed) connection.leave()
    else this.connections.add(connection)
    this.deliveries.attach(client, connection)
    return connection
  }
}
