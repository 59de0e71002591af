import type { Socket } from 'node:net'
import { type ClientPeer, mqttGateway } from '../../brokers/mqtt-gateway/index.ts'
import { trustProxies } from '../adapter/trusted-proxies.ts'
import { SILENT } from '../core/logger.ts'
import type { Gate, Logger } from '../index.ts'
import { certificateOf } from './certified-user.ts'
import { CommandError, EXIT } from './command-error.ts'
import { collectGatewayMetrics } from './gateway-metrics.ts'
import { DEFAULT_MAX_PACKET_BYTES, type ListenerPorts, openListeners } from './listeners/open-listeners.ts'
import type { TlsCertificates } from './listeners/tls-certificates.ts'
import type { RunningServer } from './run-server.ts'
import { checkCertificates, checkProxyHeaders } from './server-checks.ts'
import type { UpstreamAddress } from './upstreams/upstream.ts'
import { UpstreamPool } from './upstreams/upstream-pool.ts'
import { UpstreamTls } from './upstreams/upstream-tls.ts'

export interface GatewayServerOptions extends ListenerPorts {
  readonly host: string
  readonly trustProxy: readonly string[]
  readonly proxyProtocol: boolean
  /** Default: 1 MiB. */
  readonly maxPacketBytes: number | undefined
  readonly window: number | undefined
  readonly wills: 'check' | 'strip' | 'pass' | undefined
  readonly advertise: boolean
  readonly usernameFrom: 'cn' | undefined
}

/** Starts a gateway with its own sockets. Throws CommandError with exit code 69 if a port is not available. */
export async function startGateway(
  options: GatewayServerOptions,
  gate: Gate,
  pool: UpstreamPool,
  certificates: TlsCertificates | undefined,
  logger: Logger,
): Promise<RunningServer> {
  const { host, port, wsPort, tlsPort, wssPort, proxyProtocol } = options
  const maxPacketBytes = options.maxPacketBytes ?? DEFAULT_MAX_PACKET_BYTES
  const trust = trustProxies(options.trustProxy)
  const sockets = new WeakMap<ClientPeer, Socket>()
  const gateway = mqttGateway(gate, {
    connectUpstream: ({ clientId, peer }) => pool.connect({ clientId, ip: peer.ip, port: peer.port }),
    // Called when a client has sent its CONNECT.
    identify: ({ peer }) => {
      const socket = sockets.get(peer)
      if (socket !== undefined) listeners.markConnected(socket)
      sockets.delete(peer)
      return undefined
    },
    window: options.window,
    wills: options.wills,
    maxPacketBytes,
    advertise: options.advertise,
    usernameFrom: options.usernameFrom,
    logger,
  })
  // Logs which brokers are away, without delaying the start.
  void pool.check()
  const listeners = await openListeners(
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
    ({ stream, socket, ip, port: clientPort }) => {
      const peer = { ip: ip ?? '', port: clientPort, tls: certificateOf(socket) }
      sockets.set(peer, socket)
      gateway.handle(stream, peer)
    },
  ).catch(async (error: unknown) => {
    pool.close()
    await gateway.close({ graceMs: 0 })
    throw error
  })
  return {
    port: listeners.port,
    wsPort: listeners.wsPort,
    tlsPort: listeners.tlsPort,
    wssPort: listeners.wssPort,
    limits: gateway,
    isServing: () => pool.isHealthy,
    collectMetrics: () => [
      ...collectGatewayMetrics(gateway.stats()),
      ...pool.collectMetrics(),
      ...listeners.collectMetrics(),
    ],
    runChecks: async () => [
      ...(await pool.runChecks()),
      ...checkCertificates(certificates?.readExpiries() ?? new Map(), gate.clock.now()),
      checkProxyHeaders(listeners.countProxied(), {
        isExpected: proxyProtocol,
        hasProxies: options.trustProxy.length > 0,
      }),
    ],
    close: async drainMs => {
      listeners.stopAccepting()
      await gateway.close({ graceMs: drainMs })
      await listeners.close()
      pool.close()
    },
  }
}

/** Starts a gateway in front of one broker at a free port of this machine. Throws CommandError if that is not reachable. */
export async function startLocalGateway(gate: Gate, upstream: UpstreamAddress): Promise<RunningServer> {
  const files = { caFile: undefined, certFile: undefined, keyFile: undefined }
  const tls = upstream.isTls ? await UpstreamTls.open(files, SILENT) : undefined
  const pool = new UpstreamPool({
    addresses: [upstream],
    tls,
    sendsProxyHeader: false,
    logger: SILENT,
  })
  await pool.check()
  if (!pool.isHealthy) {
    pool.close()
    const text = `there is no MQTT broker at ${upstream.name} (start it, or correct --upstream)`
    throw new CommandError(text, EXIT.unavailable)
  }
  const options = {
    host: '127.0.0.1',
    port: 0,
    wsPort: undefined,
    tlsPort: undefined,
    wssPort: undefined,
    trustProxy: [],
    proxyProtocol: false,
    maxPacketBytes: undefined,
    window: undefined,
    wills: undefined,
    advertise: false,
    usernameFrom: undefined,
  }
  return startGateway(options, gate, pool, undefined, SILENT)
}
