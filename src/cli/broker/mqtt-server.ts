import type { EventEmitter } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { Aedes } from 'aedes'
import { brokerInternals } from '../../../brokers/aedes/aedes-internals.ts'
import { readClientIp } from '../../../brokers/aedes/connection-sender.ts'
import { type BrokerLimiter, limitBroker, trustProxies } from '../../../brokers/aedes/index.ts'
import { preventStackOverflow } from '../../../brokers/aedes/mqemitter-stack-overflow.ts'
import type { ServerCheck } from '../../admin/index.ts'
import { addressKey } from '../../conditions/address-network.ts'
import { type MetricFamily, PolicyError } from '../../index.ts'
import type { AclAuthorization } from '../access/acl-authorization.ts'
import type { ClientAuthentication } from '../access/client-authentication.ts'
import {
  DEFAULT_MAX_PACKET_BYTES,
  type ListenerOptions,
  type ListenerPorts,
  type Listeners,
  openListeners,
} from '../listeners/open-listeners.ts'
import type { DurablePersistence } from '../persistence/aedes-persistence.ts'
import { DEFAULT_PERSISTENCE_LIMITS, type PersistenceLimitOptions } from '../persistence/limit-options.ts'
import { PersistenceLimits } from '../persistence/persistence-limits.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

export interface MqttServerOptions extends Omit<ListenerOptions, 'protocol'> {
  /** Topic of notices to refused clients. Default: none. */
  readonly notices?: string | undefined
  /** Default: clients may publish and read every topic. */
  readonly authorization?: AclAuthorization | undefined
  /** Default: every client may connect. */
  readonly authentication?: ClientAuthentication | undefined
  /** Default: sessions and retained messages are kept in memory. */
  readonly durable?: DurablePersistence | undefined
  readonly storageLimits?: PersistenceLimitOptions | undefined
}

export interface RunningMqttServer extends ListenerPorts {
  readonly broker: Aedes
  readonly limits: BrokerLimiter
  readonly protocol: 'mqtt'
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
    const opened = await openListeners(
      { ...options, protocol: 'mqtt', maxPacketBytes },
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
      ...opened.ports,
      protocol: 'mqtt',
      collectMetrics: () => [
        ...opened.collectMetrics(),
        ...storage.collectMetrics(),
        ...(options.authentication?.collectMetrics() ?? []),
      ],
      runChecks: opened.runChecks,
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
