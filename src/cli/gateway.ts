import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { type ClientPeer, mqttGateway } from '../../brokers/mqtt-gateway/index.ts'
import { trustProxies } from '../adapter/trusted-proxies.ts'
import type { Gate } from '../index.ts'
import { openBrokerAccess, reloadableFilesOf } from './access-files.ts'
import { certificateOf } from './certified-user.ts'
import { collectGatewayMetrics } from './gateway-metrics.ts'
import { DEFAULT_MAX_PACKET_BYTES, openListeners } from './listeners/open-listeners.ts'
import type { TlsCertificates, TlsFileOptions } from './listeners/tls-certificates.ts'
import { type RunningServer, runServer, type ServerOptions } from './run-server.ts'
import { checkCertificates, checkProxyHeaders } from './server-checks.ts'
import type { Terminal } from './terminal.ts'
import { readUpstreamTls, type UpstreamAddress, type UpstreamTlsFiles } from './upstreams/upstream.ts'
import { UpstreamPool } from './upstreams/upstream-pool.ts'

export interface GatewayCommandOptions extends ServerOptions {
  readonly upstreams: readonly UpstreamAddress[]
  readonly upstreamTls: UpstreamTlsFiles
  readonly sendsProxyHeader: boolean
  readonly window: number | undefined
  readonly wills: 'check' | 'strip' | 'pass' | undefined
  readonly advertise: boolean
  readonly usernameFrom: 'cn' | undefined
  readonly tls: TlsFileOptions | undefined
}

/** Runs a gateway in front of MQTT brokers until SIGINT or SIGTERM. Returns the exit code. */
export function runGateway(options: GatewayCommandOptions, terminal: Terminal): Promise<number> {
  return runServer(options, terminal, async logger => {
    const access = await openBrokerAccess({ tls: options.tls }, logger)
    const secureContext = options.upstreams.some(({ isTls }) => isTls)
      ? await readUpstreamTls(options.upstreamTls)
      : undefined
    const { upstreams: addresses, sendsProxyHeader } = options
    return {
      files: reloadableFilesOf(access),
      start: gate => {
        const pool = new UpstreamPool({ addresses, secureContext, sendsProxyHeader, logger })
        return startGateway(options, gate, pool, access.certificates, logger)
      },
    }
  })
}

async function startGateway(
  options: GatewayCommandOptions,
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
