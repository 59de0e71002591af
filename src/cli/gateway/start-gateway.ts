import type { Socket } from 'node:net'
import {
  type ClientPeer,
  type MqttGateway,
  mqttGateway,
  type NatsGateway,
  natsGateway,
} from '../../../brokers/gateway.ts'
import { SILENT } from '../../core/logger.ts'
import type { Dialect, Gate, Logger } from '../../index.ts'
import { certificateOf } from '../access/client-certificate.ts'
import { DEFAULT_MAX_PACKET_BYTES, type ListenerPorts, openListeners } from '../listeners/open-listeners.ts'
import type { TlsCertificates } from '../listeners/tls-certificates.ts'
import type { RunningServer } from '../server/server-types.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { UpstreamAddress } from '../upstreams/upstream.ts'
import { UpstreamPool } from '../upstreams/upstream-pool.ts'
import { UpstreamTls } from '../upstreams/upstream-tls.ts'
import { collectGatewayMetrics } from './gateway-metrics.ts'

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
  /** Seed of the nkey of a trusted proxy of NATS. */
  readonly proxySeed: string | undefined
}

/** Starts a gateway with its own sockets. Throws CommandError with exit code 69 if a port is not available. */
export async function startGateway(
  options: GatewayServerOptions,
  gate: Gate,
  pool: UpstreamPool,
  certificates: TlsCertificates | undefined,
  logger: Logger,
): Promise<RunningServer> {
  const { protocol } = pool
  const sockets = new WeakMap<ClientPeer, Socket>()
  const gateway = createGateway(options, gate, {
    connectUpstream: (clientId, peer) => {
      const isGone = (): boolean => sockets.get(peer)?.destroyed === true
      return pool.connect({ clientId, ip: peer.ip, port: peer.port, isGone })
    },
    onConnect: peer => {
      const socket = sockets.get(peer)
      if (socket !== undefined) listeners.markConnected(socket)
    },
    protocol,
    logger,
  })
  // Logs which brokers are away, without delaying the start.
  void pool.check()
  const listeners = await openListeners(
    { ...options, gate, protocol, certificates, logger, maxPacketBytes: maxFrameBytes(options, protocol) },
    ({ stream, socket, ip, port, startTls }) => {
      const peer = { ip: ip ?? '', port, tls: certificateOf(socket), startTls }
      sockets.set(peer, socket)
      gateway.handle(stream, peer)
    },
  ).catch(async (error: unknown) => {
    pool.close()
    await gateway.close({ graceMs: 0 })
    throw error
  })
  return {
    ...listeners.ports,
    protocol,
    limits: gateway,
    isServing: () => pool.isHealthy,
    collectMetrics: () => [
      ...collectGatewayMetrics(gateway.stats()),
      ...pool.collectMetrics(),
      ...listeners.collectMetrics(),
    ],
    runChecks: async () => [...(await pool.runChecks()), ...listeners.runChecks()],
    close: async drainMs => {
      listeners.stopAccepting()
      await gateway.close({ graceMs: drainMs })
      await listeners.close()
      pool.close()
    },
  }
}

interface GatewayHooks {
  readonly connectUpstream: (clientId: string, peer: ClientPeer) => Promise<Socket>
  /** Called when a client has sent its CONNECT. */
  readonly onConnect: (peer: ClientPeer) => void
  readonly protocol: Dialect
  readonly logger: Logger
}

/** Creates the gateway of the brokers' protocol. */
function createGateway(
  options: GatewayServerOptions,
  gate: Gate,
  { connectUpstream, onConnect, protocol, logger }: GatewayHooks,
): MqttGateway | NatsGateway {
  const identify = ({ peer }: { readonly peer: ClientPeer }): undefined => void onConnect(peer)
  if (protocol === 'nats') {
    if (gate.dialect !== 'nats' && gate.rules().length > 0)
      throw new CommandError('the policy has topics of MQTT (write dialect: nats in it)', EXIT.usage)
    return natsGateway(gate, {
      connectUpstream: ({ peer }) => connectUpstream('', peer),
      identify,
      proxySeed: options.proxySeed,
      maxPayloadBytes: options.maxPacketBytes,
      logger,
    })
  }
  return mqttGateway(gate, {
    connectUpstream: ({ clientId, peer }) => connectUpstream(clientId, peer),
    identify,
    window: options.window,
    wills: options.wills,
    maxPacketBytes: options.maxPacketBytes ?? DEFAULT_MAX_PACKET_BYTES,
    advertise: options.advertise,
    usernameFrom: options.usernameFrom,
    logger,
  })
}

/** Returns the maximum of a WebSocket frame. One of NATS may hold several messages: a large one behind small ones. */
function maxFrameBytes(
  { maxPacketBytes = DEFAULT_MAX_PACKET_BYTES }: GatewayServerOptions,
  protocol: Dialect,
): number {
  return protocol === 'nats' ? 2 * maxPacketBytes : maxPacketBytes
}

/** Starts a gateway in front of one broker at a free port of this machine. Throws CommandError if that is not reachable. */
export async function startLocalGateway(gate: Gate, upstream: UpstreamAddress): Promise<RunningServer> {
  if (upstream.protocol !== 'mqtt')
    throw new CommandError('the fleet speaks MQTT (name a broker as --upstream mqtt://host:1883)', EXIT.usage)
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
    proxySeed: undefined,
  }
  return startGateway(options, gate, pool, undefined, SILENT)
}
