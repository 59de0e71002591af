import type { EventEmitter } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { Aedes } from 'aedes'
import { readClientIp } from '../../brokers/aedes/connection-sender.ts'
import {
  type BrokerLimiter,
  behindProxy,
  limitBroker,
  limitServer,
  trustProxies,
} from '../../brokers/aedes/index.ts'
import { preventStackOverflow } from '../../brokers/aedes/mqemitter-stack-overflow.ts'
import { type Gate, type Logger, PolicyError } from '../index.ts'
import type { AclAuthorization } from './acl-authorization.ts'
import type { ClientAuthentication } from './client-authentication.ts'
import { CommandError, EXIT } from './command-error.ts'
import type { TlsCertificates } from './tls-certificates.ts'
import type { acceptWebSockets } from './web-socket-server.ts'

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
  /** Stops accepting connections, lets held messages pass for at most `drainMs`, then disconnects all clients. */
  close(drainMs: number): Promise<void>
}

/** Same default as EMQX. */
export const DEFAULT_MAX_PACKET_BYTES = 1_048_576

/**
 * Higher than the defaults of `limitServer`, because after a power cut a whole site connects at once from one address.
 */
const SOCKET_LIMITS = { maxSilent: 10_000, maxSilentPerIp: 1_000 }

/**
 * Starts a limited aedes broker with its own sockets. Throws PolicyError for invalid addresses, UnsupportedError for a
 * policy aedes cannot enact, CommandError with exit code 69 if a port is not available.
 */
export async function startMqttServer(options: MqttServerOptions): Promise<RunningMqttServer> {
  const { gate, host, logger, notices, maxPacketBytes = DEFAULT_MAX_PACKET_BYTES } = options
  const trust = trustProxies(options.trustProxy ?? [])
  // A message passes more functions than V8 inlines by default, which costs 0.2 to 0.9 µs a message.
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=3000')
  const broker = await Aedes.createBroker()
  preventStackOverflow(broker)
  const servers: Server[] = []
  const sockets = new Set<Socket>()
  // Without a listener, an error of aedes ends the process.
  const emitter: EventEmitter = broker
  emitter.on('error', err => logger?.error({ err }, 'the broker reports an error'))
  const closeAll = async (): Promise<void> => {
    const closed = servers.map(server => new Promise<void>(resolve => server.close(() => resolve())))
    await new Promise<void>(resolve => broker.close(() => resolve()))
    for (const socket of sockets) socket.destroy()
    await Promise.all(closed)
  }
  try {
    const limits = limitBroker(broker, gate, {
      trust,
      maxPacketBytes,
      logger,
      notices,
      // Refused topics passed the ACL before, so their raw bytes may be refused without it.
      skimRefused: true,
      identify: client => options.authentication?.identify(client) ?? {},
    })
    options.authorization?.attach(broker)
    options.authentication?.attach(broker, client => readClientIp(client, trust))
    const open = async (server: Server, port: number, flag: string): Promise<number> => {
      server.on('connection', socket => {
        sockets.add(socket)
        socket.once('close', () => sockets.delete(socket))
      })
      limitServer(server, limits, { trust, ...SOCKET_LIMITS })
      const bound = await listen(server, port, host, flag)
      servers.push(server)
      server.on('error', err => logger?.error({ err }, 'a socket could not be accepted'))
      return bound
    }
    const listenAt = async (
      wanted: number | undefined,
      flag: string,
      create: () => Server | Promise<Server>,
    ): Promise<number | undefined> => (wanted === undefined ? undefined : open(await create(), wanted, flag))
    const accept = options.proxyProtocol
      ? behindProxy(broker, { trust })
      : (socket: Socket): void => void broker.handle(socket)
    // Nagle's algorithm delays acknowledgements of QoS 1 by up to 40 ms.
    const port = await listenAt(options.port, '--port', () => createServer({ noDelay: true }, accept))
    const wsPort = await listenAt(options.wsPort, '--ws', () =>
      openWebSockets(createHttpServer({ noDelay: true }), broker, limits, maxPacketBytes, logger),
    )
    const tlsOptions = { ...options.certificates?.serverOptions, noDelay: true }
    const tlsPort = await listenAt(options.tlsPort, '--tls', () => {
      const server = createTlsServer(tlsOptions, socket => void broker.handle(socket))
      options.certificates?.attach(server)
      return server
    })
    const wssPort = await listenAt(options.wssPort, '--wss', async () => {
      const server = createHttpsServer(tlsOptions)
      options.certificates?.attach(server)
      return openWebSockets(server, broker, limits, maxPacketBytes, logger)
    })
    return {
      broker,
      limits,
      port,
      wsPort,
      tlsPort,
      wssPort,
      close: async drainMs => {
        for (const server of servers) server.close()
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

/** Lets an HTTP server accept WebSockets. The code is loaded on first use. */
async function openWebSockets(...args: Parameters<typeof acceptWebSockets>): Promise<Server> {
  const { acceptWebSockets } = await import('./web-socket-server.ts')
  acceptWebSockets(...args)
  return args[0]
}

function listen(server: Server, port: number, host: string, flag: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === 'EADDRINUSE'
      const reason = taken ? 'another program uses it' : cause.message
      const text = `cannot listen at ${host}:${port}: ${reason} (choose another with ${flag})`
      reject(new CommandError(text, EXIT.unavailable, { cause }))
    })
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}
