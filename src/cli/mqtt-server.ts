import type { EventEmitter } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { Aedes } from 'aedes'
import { brokerInternals } from '../../brokers/aedes/aedes-internals.ts'
import { readClientIp } from '../../brokers/aedes/connection-sender.ts'
import { type BrokerLimiter, limitBroker, trustProxies } from '../../brokers/aedes/index.ts'
import { preventStackOverflow } from '../../brokers/aedes/mqemitter-stack-overflow.ts'
import type { ServerCheck } from '../admin/index.ts'
import { addressKey } from '../conditions/address-network.ts'
import { type Gate, type Logger, type MetricFamily, PolicyError } from '../index.ts'
import type { AclAuthorization } from './acl-authorization.ts'
import type { ClientAuthentication } from './client-authentication.ts'
import { CommandError, EXIT } from './command-error.ts'
import { DEFAULT_MAX_PACKET_BYTES, type Listeners, openListeners } from './listeners/open-listeners.ts'
import type { TlsCertificates } from './listeners/tls-certificates.ts'
import type { DurablePersistence } from './persistence/aedes-persistence.ts'
import { DEFAULT_PERSISTENCE_LIMITS, type PersistenceLimitOptions } from './persistence/limit-options.ts'
import { PersistenceLimits } from './persistence/persistence-limits.ts'
import { checkCertificates, checkProxyHeaders } from './server-checks.ts'

export interface MqttServerOptions {
  readonly gate: Gate
  readonly host: string
  /** Ports of the listeners, 0 for a free one: MQTT, MQTT over WebSocket, and both over TLS. Default: no listener. */
  readonly port?: number | undefined
  readonly wsPort?: number | undefined
  readonly tlsPort?: number | undefined
  readonly wssPort?: number | undefined
  /** Certificate of the TLS listeners. */
  readonly certificates?: TlsCertificates | undefined
  /** Addresses and CIDR blocks of proxies that may report a sender's address. */
  readonly trustProxy?: readonly string[]
  /** True if these proxies send PROXY protocol headers. */
  readonly proxyProtocol?: boolean
  /** Topic of notices to refused clients. Default: none. */
  readonly notices?: string | undefined
  /** Maximum packet size of a client. Default: 1 MiB. */
  readonly maxPacketBytes?: number | undefined
  /** Default: clients may publish and read every topic. */
  readonly authorization?: AclAuthorization | undefined
  /** Default: every client may connect. */
  readonly authentication?: ClientAuthentication | undefined
  /** Default: sessions and retained messages are kept in memory. */
  readonly durable?: DurablePersistence | undefined
  readonly storageLimits?: PersistenceLimitOptions | undefined
  readonly logger?: Logger
}

export interface RunningMqttServer {
  readonly broker: Aedes
  readonly limits: BrokerLimiter
  /** Ports of the listeners; undefined if there is none. */
  readonly port: number | undefined
  readonly wsPort: number | undefined
  readonly tlsPort: number | undefined
  readonly wssPort: number | undefined
  collectMetrics(): readonly MetricFamily[]
  /** Checks the certificates and the headers of proxies. */
  runChecks(): readonly ServerCheck[]
  /** Stops accepting connections, lets held messages pass for at most `drainMs`, then disconnects all clients. */
  close(drainMs: number): Promise<void>
}

/**
 * Starts a limited aedes broker with its own sockets. Throws PolicyError for invalid addresses, UnsupportedError for a
 * policy aedes cannot enact, CommandError with exit code 69 if a port is not available.
 */
export async function startMqttServer(options: MqttServerOptions): Promise<RunningMqttServer> {
  const { gate, logger, notices, maxPacketBytes = DEFAULT_MAX_PACKET_BYTES } = options
  const trust = trustProxies(options.trustProxy ?? [])
  // A message passes more functions than V8 inlines by default, which costs 0.2 to 0.9 µs a message.
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=3000')
  const { durable } = options
  const broker = await Aedes.createBroker({ persistence: durable?.persistence })
  preventStackOverflow(broker)
  let listeners: Listeners | undefined
  // Without a listener, an error of aedes ends the process.
  const emitter: EventEmitter = broker
  emitter.on('error', err => logger?.error({ err }, 'the broker reports an error'))
  const closeAll = async (): Promise<void> => {
    await new Promise<void>(resolve => broker.close(() => resolve()))
    await listeners?.close()
  }
  try {
    const limits = limitBroker(broker, gate, {
      trust,
      maxPacketBytes,
      logger,
      notices,
      // Refused topics passed the ACL before, so their raw bytes may be refused without it.
      skimRefused: true,
      acknowledgeStored: durable !== undefined,
      identify: client => options.authentication?.identify(client) ?? {},
    })
    options.authorization?.attach(broker)
    options.authentication?.attach(broker, client => readClientIp(client, trust))
    const storage = new PersistenceLimits(
      broker,
      options.storageLimits ?? DEFAULT_PERSISTENCE_LIMITS,
      client => options.authentication?.userOf(client) ?? addressKey(readClientIp(client, trust) ?? ''),
      logger,
    )
    if (durable !== undefined) await storage.count(durable.readSessions())
    const { host, port, wsPort, tlsPort, wssPort, certificates, proxyProtocol = false } = options
    const opened = await openListeners(
      {
        gate,
        host,
        port,
        wsPort,
        tlsPort,
        wssPort,
        certificates,
        trust,
        proxyProtocol,
        maxPacketBytes,
        logger,
      },
      ({ stream, socket, ip }) => {
        // aedes reads the address of a connection from its request.
        const connDetails = { ipAddress: ip ?? '' }
        brokerInternals(broker).handle(stream, { connDetails, headers: {}, socket })
      },
    )
    listeners = opened
    limits.onConnect(opened.markConnected)
    return {
      broker,
      limits,
      port: opened.port,
      wsPort: opened.wsPort,
      tlsPort: opened.tlsPort,
      wssPort: opened.wssPort,
      collectMetrics: () => [
        ...opened.collectMetrics(),
        ...storage.collectMetrics(),
        ...(options.authentication?.collectMetrics() ?? []),
      ],
      runChecks: () => [
        ...checkCertificates(certificates?.readExpiries() ?? new Map(), gate.clock.now()),
        checkProxyHeaders(opened.countProxied(), {
          isExpected: proxyProtocol,
          hasProxies: (options.trustProxy ?? []).length > 0,
        }),
      ],
      close: async drainMs => {
        opened.stopAccepting()
        await limits.drain(drainMs)
        await closeAll()
      },
    }
  } catch (error) {
    await closeAll()
    throw isNoticesError(error) ? noticesOptionError(error) : error
  }
}

function isNoticesError(error: unknown): error is PolicyError {
  return error instanceof PolicyError && error.problems[0]?.path === 'notices'
}

/** Reports the flag instead of the policy. */
function noticesOptionError(cause: PolicyError): CommandError {
  const { message, remedy } = cause.problems[0]!
  return new CommandError(`--notices: ${message} (${remedy})`, EXIT.usage, { cause })
}
