import type { IncomingMessage } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { ServerCheck } from '../../admin/index.ts'
import { awaitProxyHeader, PROXY_HEADER_MS } from '../../broker-support/await-proxy-header.ts'
import { SilentSockets } from '../../broker-support/silent-sockets.ts'
import { findForwardedIp, trustProxies } from '../../broker-support/trusted-proxies.ts'
import { canonicalIp } from '../../conditions/cidr.ts'
import type { Dialect, Gate, Logger, MetricFamily } from '../../index.ts'
import { checkCertificates, checkProxyHeaders } from '../monitoring/server-checks.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { AcceptRules } from './accept-rules.ts'
import { awaitClientHello } from './await-client-hello.ts'
import type { TlsCertificates } from './tls-certificates.ts'
import { TlsHandshakes } from './tls-handshakes.ts'
import type { WebSockets } from './web-sockets.ts'

/** Ports of listeners, 0 for a free one; undefined for none. */
export interface ListenerPorts {
  readonly port: number | undefined
  readonly wsPort: number | undefined
  readonly tlsPort: number | undefined
  readonly wssPort: number | undefined
}

export interface ListenerOptions extends Partial<ListenerPorts> {
  readonly gate: Gate
  readonly protocol: Dialect
  readonly host: string
  /** Certificate of the TLS listeners. */
  readonly certificates?: TlsCertificates | undefined
  /** Addresses and CIDR blocks of proxies that may report a client's address. */
  readonly trustProxy?: readonly string[]
  /** True if these proxies send PROXY protocol headers. */
  readonly proxyProtocol?: boolean
  /** Maximum packet size of a client. Default: 1 MiB. */
  readonly maxPacketBytes?: number | undefined
  readonly logger?: Logger
}

/** Same default as EMQX. */
export const DEFAULT_MAX_PACKET_BYTES = 1_048_576

/** A connection whose proxy header and handshakes are done. */
export interface AcceptedConnection {
  /** Its bytes of MQTT or NATS. */
  readonly stream: Duplex
  /** Its TCP or TLS socket. */
  readonly socket: Socket
  /** Address of the client, as the nearest trusted proxy reports it. */
  readonly ip: string | undefined
  /** Port of the client; undefined if a proxy is in between. */
  readonly port: number | undefined
  /** Starts TLS behind the INFO of NATS; undefined if TLS is not wanted, or has started. */
  readonly startTls: StartTls | undefined
}

type StartTls = (onSecure: (socket: Socket) => void) => void

export interface Listeners {
  /** Bound ports. */
  readonly ports: ListenerPorts
  /** Ends the limits of a socket that has not sent its CONNECT yet. */
  markConnected(socket: object): void
  collectMetrics(): readonly MetricFamily[]
  /** Checks the certificates and the headers of proxies. */
  runChecks(): readonly ServerCheck[]
  stopAccepting(): void
  /** Stops accepting, and closes all connections. */
  close(): Promise<void>
}

/**
 * Higher than the defaults of `limitServer`, because after a power cut a whole site connects at once from one address.
 */
const SILENT_SOCKETS = { silentMs: 10_000, maxSilent: 10_000, maxSilentPerIp: 1_000 }

type Transport = 'tcp' | 'ws' | 'tls' | 'wss'

/** Origin of a socket that is handed on: the reported address, its TCP socket and its listener. */
interface Origin {
  readonly ip: string | undefined
  readonly tcp: Socket
  readonly transport: Transport
}

const FLAGS = { tcp: '--port', ws: '--ws', tls: '--tls', wss: '--wss' } as const

/**
 * Opens the listeners of a command. A connection passes these steps: limits of silent sockets, PROXY header, rules
 * `on: accept`, TLS handshake, WebSocket handshake. Throws CommandError with exit code 69 if a port is not available.
 */
export async function openListeners(
  options: ListenerOptions,
  onConnection: (connection: AcceptedConnection) => void,
): Promise<Listeners> {
  const { gate, protocol, host, certificates, logger } = options
  const { trustProxy = [], proxyProtocol = false, maxPacketBytes = DEFAULT_MAX_PACKET_BYTES } = options
  const trust = trustProxies(trustProxy)
  const silent = new SilentSockets(SILENT_SOCKETS)
  const acceptRules = new AcceptRules(gate, protocol, logger)
  const servers: Server[] = []
  const sockets = new Set<Socket>()
  const origins = new WeakMap<object, Origin>()
  let [withHeader, withoutHeader] = [0, 0]

  const emitConnection = (
    stream: Duplex,
    socket: Socket,
    ip: string | undefined,
    startTls?: StartTls,
  ): void => {
    const { tcp } = origins.get(socket) ?? { tcp: socket }
    const isDirect = ip !== undefined && ip === canonicalIp(tcp.remoteAddress ?? '')
    onConnection({ stream, socket, ip, port: isDirect ? tcp.remotePort : undefined, startTls })
  }
  const handlePlain = (socket: Socket): void => emitConnection(socket, socket, origins.get(socket)?.ip)
  const handleWebSocket = (stream: Duplex, { socket, headers }: IncomingMessage): void =>
    emitConnection(
      stream,
      socket,
      findForwardedIp(origins.get(socket)?.ip, headers['x-forwarded-for'], trust),
    )

  let webSockets: WebSockets | undefined
  if (options.wsPort !== undefined || options.wssPort !== undefined) {
    const { WebSockets: Opened } = await import('./web-sockets.ts')
    webSockets = new Opened(protocol, maxPacketBytes, logger, handleWebSocket)
  }
  const handshakes =
    certificates &&
    new TlsHandshakes(certificates, (socket, tcp) => {
      const origin = origins.get(tcp)
      if (origin !== undefined) origins.set(socket, origin)
    })

  function handleAddressed(tcp: Socket, ip: string | undefined, transport: Transport): void {
    origins.set(tcp, { ip, tcp, transport })
    // Many clients share the address of a proxy that reports none.
    const ownIp = ip !== undefined && trust(ip) ? undefined : ip
    acceptRules.check(tcp, ownIp, () => {
      if (transport === 'tcp') handlePlain(tcp)
      else if (transport === 'ws') webSockets?.handle(tcp)
      else if (transport === 'wss') handshakes?.start(tcp, ownIp, socket => webSockets?.handle(socket))
      else if (protocol === 'mqtt') handshakes?.start(tcp, ownIp, handlePlain)
      else
        awaitClientHello(tcp, isTls => {
          if (isTls) handshakes?.start(tcp, ownIp, handlePlain)
          else emitConnection(tcp, tcp, ip, onSecure => handshakes?.start(tcp, ownIp, onSecure))
        })
    })
  }

  function handle(tcp: Socket, transport: Transport): void {
    sockets.add(tcp)
    tcp.once('close', () => sockets.delete(tcp))
    const remote = tcp.remoteAddress
    const isProxy = remote !== undefined && trust(remote)
    if (!silent.add(tcp, isProxy ? undefined : remote)) return
    if (!isProxy || !proxyProtocol) {
      handleAddressed(tcp, remote && canonicalIp(remote), transport)
      return
    }
    awaitProxyHeader(tcp, PROXY_HEADER_MS, ip => {
      if (ip === undefined || silent.assignAddress(tcp, ip)) handleAddressed(tcp, ip ?? remote, transport)
    })
  }

  /** Counts when a client has connected, so that mere probes of a port do not count. */
  function countProxied({ ip, tcp, transport }: Origin): void {
    const { remoteAddress } = tcp
    // WebSockets may report the client in a header of HTTP instead.
    const isReported = transport === 'ws' || transport === 'wss'
    if (remoteAddress === undefined || !trust(remoteAddress) || (isReported && !proxyProtocol)) return
    if (ip === undefined || trust(ip)) withoutHeader++
    else withHeader++
  }

  const open = async (port: number | undefined, transport: Transport): Promise<number | undefined> => {
    if (port === undefined) return undefined
    // Nagle's algorithm delays acknowledgements of QoS 1 by up to 40 ms.
    const server = createServer({ noDelay: true }, socket => handle(socket, transport))
    servers.push(server)
    const bound = await listen(server, port, host, FLAGS[transport])
    server.on('error', err => logger?.error({ err }, 'a socket could not be accepted'))
    return bound
  }
  const close = async (): Promise<void> => {
    const closed = servers.map(server => new Promise<void>(resolve => server.close(() => resolve())))
    for (const socket of sockets) socket.destroy()
    silent.clear()
    acceptRules.close()
    await Promise.all(closed)
  }
  try {
    return {
      ports: {
        port: await open(options.port, 'tcp'),
        wsPort: await open(options.wsPort, 'ws'),
        tlsPort: await open(options.tlsPort, 'tls'),
        wssPort: await open(options.wssPort, 'wss'),
      },
      markConnected: socket => {
        const origin = origins.get(socket)
        silent.remove(origin?.tcp ?? socket)
        if (origin !== undefined) countProxied(origin)
        webSockets?.markConnected(socket)
      },
      collectMetrics: () => [
        {
          name: 'topicgate_sockets_refused_total',
          help: 'Sockets closed before a CONNECT, by reason.',
          type: 'counter',
          samples: Object.entries({
            too_many: silent.stats.refused,
            silent: silent.stats.expired,
            accept: acceptRules.refused,
            tls_handshakes: handshakes?.refused ?? 0,
          }).map(([reason, value]) => ({ labels: { reason }, value })),
        },
      ],
      runChecks: () => [
        ...checkCertificates(certificates?.readExpiries() ?? new Map(), gate.clock.now()),
        checkProxyHeaders(
          { withHeader, withoutHeader },
          { isExpected: proxyProtocol, hasProxies: trustProxy.length > 0 },
        ),
      ],
      stopAccepting: () => {
        for (const server of servers) server.close()
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
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
