import type { EventEmitter } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { Aedes } from 'aedes'
import { type WebSocket, WebSocketServer } from 'ws'
import {
  type BrokerLimits,
  behindProxy,
  limitBroker,
  limitServer,
  trustProxies,
} from '../../brokers/aedes/index.ts'
import { patchMqEmitter } from '../../brokers/aedes/mqemitter-patch.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { type Gate, type Logger, PolicyError } from '../index.ts'
import { CommandError, EXIT } from './command-error.ts'
import { webSocketStream } from './web-socket-stream.ts'

export interface MqttServerOptions {
  readonly gate: Gate
  readonly host: string
  /** 0 for a free one. */
  readonly port: number
  /** Default: no WebSocket. */
  readonly wsPort?: number | undefined
  /** Addresses and CIDR blocks of proxies whose word on the sender's address counts. */
  readonly trustProxy?: readonly string[]
  /** These proxies send PROXY protocol headers. */
  readonly proxyProtocol?: boolean
  /** The topic refused clients are told on. Default: none. */
  readonly notices?: string | undefined
  /** The largest packet a client may send. Default: 1 MiB. */
  readonly maxPacketBytes?: number | undefined
  readonly logger?: Logger
}

export interface MqttServer {
  readonly broker: Aedes
  readonly limits: BrokerLimits
  readonly port: number
  readonly wsPort: number | undefined
  /** Takes no more connections, lets what is held pass for at most `drainMs`, then disconnects all. */
  close(drainMs: number): Promise<void>
}

/** As EMQX has it. */
export const MAX_PACKET_BYTES = 1_048_576

/** Roomier than the plugin's own: after a power cut a whole site connects at once, from one address. */
const SILENT_SOCKETS = { maxSilent: 10_000, maxSilentPerIp: 1_000 }

/**
 * A limited aedes broker behind sockets of its own. Throws PolicyError for addresses that are none, UnsupportedError
 * for a policy aedes cannot enact, CommandFailure with exit code 69 for a port it cannot have.
 */
export async function startMqttServer(options: MqttServerOptions): Promise<MqttServer> {
  const { gate, host, logger, notices, maxPacketBytes = MAX_PACKET_BYTES } = options
  const trust = trustProxies(options.trustProxy ?? [])
  // A message runs through more functions than V8 is willing to inline in one piece: 0.2 µs of each, and up to 0.9.
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=3000')
  const broker = await Aedes.createBroker()
  patchMqEmitter(broker)
  const servers: Server[] = []
  const sockets = new Set<Socket>()
  // aedes ends the process where nobody listens.
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
      ...(logger ? { logger } : {}),
      ...(notices === undefined ? {} : { notices }),
    })
    const open = async (server: Server, port: number, flag: string): Promise<number> => {
      server.on('connection', socket => {
        sockets.add(socket)
        socket.once('close', () => sockets.delete(socket))
      })
      limitServer(server, limits, { trust, ...SILENT_SOCKETS })
      const bound = await listen(server, port, host, flag)
      servers.push(server)
      server.on('error', err => logger?.error({ err }, 'a socket cannot be accepted'))
      return bound
    }
    const accept = options.proxyProtocol
      ? behindProxy(broker, { trust })
      : (socket: Socket): void => void broker.handle(socket)
    // Nagle's algorithm delays acknowledgements of QoS 1 by up to 40 ms.
    const tcp = createServer({ noDelay: true }, accept)
    const port = await open(tcp, options.port, '--port')
    const wsPort =
      options.wsPort === undefined
        ? undefined
        : await open(webSocketServer(broker, limits, maxPacketBytes, logger), options.wsPort, '--ws')
    return {
      broker,
      limits,
      port,
      wsPort,
      close: async drainMs => {
        for (const server of servers) server.close()
        await limits.drain(drainMs)
        await closeAll()
      },
    }
  } catch (error) {
    await closeAll()
    throw isOfNotices(error) ? noticesFailure(error) : error
  }
}

function isOfNotices(error: unknown): error is PolicyError {
  return error instanceof PolicyError && error.problems[0]?.path === 'notices'
}

/** A flag that is wrong, and no policy. */
function noticesFailure(cause: PolicyError): CommandError {
  const { message, remedy } = cause.problems[0]!
  return new CommandError(`--notices: ${message} (${remedy})`, EXIT.usage, { cause })
}

function webSocketServer(
  broker: Aedes,
  limits: BrokerLimits,
  maxPacketBytes: number,
  logger: Logger | undefined,
): Server {
  const http = createHttpServer({ noDelay: true }, (_request, response) => {
    response.writeHead(426, { upgrade: 'websocket', connection: 'upgrade', 'content-type': 'text/plain' })
    response.end('MQTT over WebSocket is spoken here.\n')
  })
  const ws = new WebSocketServer({
    server: http,
    perMessageDeflate: false,
    // A frame is kept until it is whole, before anything else sees it.
    maxPayload: maxPacketBytes,
    // MQTT 3.1.1 names "mqtt" [MQTT-6.0.0-3]; clients of 3.1 ask for "mqttv3.1".
    handleProtocols: offered => [...offered].find(name => name === 'mqtt' || name === 'mqttv3.1') ?? false,
  })
  const silent = new WeakMap<object, Receiver>()
  limits.onGreeting(socket => {
    const receiver = silent.get(socket)
    if (receiver !== undefined) receiver._maxPayload = maxPacketBytes
  })
  const onError = largeFrameLog(maxPacketBytes, logger)
  ws.on('connection', (socket, request) => {
    const receiver = (socket as Receiving)._receiver
    if (typeof receiver?._maxPayload === 'number') {
      receiver._maxPayload = Math.min(maxPacketBytes, MAX_SIZES.connectBytes)
      silent.set(request.socket, receiver)
    }
    socket.on('error', onError)
    broker.handle(webSocketStream(socket), request)
  })
  ws.on('wsClientError', (_error, socket) => socket.destroy())
  // It repeats the errors of its server, which whoever listens there deals with.
  ws.on('error', () => {})
  return http
}

/** What ws keeps to itself: before its CONNECT a socket may send no larger frame than a CONNECT may be. */
interface Receiver {
  _maxPayload: number
}
interface Receiving extends WebSocket {
  readonly _receiver?: Receiver
}

/** Logs frames that are too large, at most once a second. */
function largeFrameLog(maxPacketBytes: number, logger: Logger | undefined): (error: Error) => void {
  let loggedAtMs = Number.NEGATIVE_INFINITY
  let suppressed = 0
  return error => {
    if ((error as NodeJS.ErrnoException).code !== 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return
    const nowMs = performance.now()
    if (nowMs - loggedAtMs < 1_000) {
      suppressed++
      return
    }
    logger?.warn(
      { maxPacketBytes, connectBytes: MAX_SIZES.connectBytes, suppressed },
      `WebSocket frame refused, connection closed: --max-packet-bytes is ${maxPacketBytes}`,
    )
    loggedAtMs = nowMs
    suppressed = 0
  }
}

function listen(server: Server, port: number, host: string, flag: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === 'EADDRINUSE'
      const reason = taken ? 'another program has it' : cause.message
      const text = `cannot listen at ${host}:${port}: ${reason} (choose another with ${flag})`
      reject(new CommandError(text, EXIT.unavailable, { cause }))
    })
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}
