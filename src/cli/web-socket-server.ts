import type { Server } from 'node:http'
import type { Server as HttpsServer } from 'node:https'
import type { Aedes } from 'aedes'
import { type WebSocket, WebSocketServer } from 'ws'
import type { BrokerLimiter } from '../../brokers/aedes/index.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Logger } from '../index.ts'
import { sampleLog } from './sampled-log.ts'
import { webSocketStream } from './web-socket-stream.ts'

/** Lets an HTTP or HTTPS server serve MQTT over WebSocket. */
export function acceptWebSockets(
  server: Server | HttpsServer,
  broker: Aedes,
  limits: BrokerLimiter,
  maxPacketBytes: number,
  logger: Logger | undefined,
): void {
  server.on('request', (_request, response) => {
    response.writeHead(426, { upgrade: 'websocket', connection: 'upgrade', 'content-type': 'text/plain' })
    response.end('This port serves MQTT over WebSocket.\n')
  })
  const ws = new WebSocketServer({
    server,
    perMessageDeflate: false,
    // A frame is buffered completely before any check of aedes or topicgate.
    maxPayload: maxPacketBytes,
    // MQTT 3.1.1 names "mqtt" [MQTT-6.0.0-3]; clients of 3.1 ask for "mqttv3.1".
    handleProtocols: offered => [...offered].find(name => name === 'mqtt' || name === 'mqttv3.1') ?? false,
  })
  const receiversBeforeConnect = new WeakMap<object, Receiver>()
  limits.onConnect(socket => {
    const receiver = receiversBeforeConnect.get(socket)
    if (receiver !== undefined) receiver._maxPayload = maxPacketBytes
  })
  const onError = largeFrameLog(maxPacketBytes, logger)
  ws.on('connection', (socket, request) => {
    const receiver = (socket as Receiving)._receiver
    if (typeof receiver?._maxPayload === 'number') {
      receiver._maxPayload = Math.min(maxPacketBytes, MAX_SIZES.connectBytes)
      receiversBeforeConnect.set(request.socket, receiver)
    }
    socket.on('error', onError)
    broker.handle(webSocketStream(socket), request)
  })
  ws.on('wsClientError', (_error, socket) => socket.destroy())
  // It repeats errors of its server, which are handled there.
  ws.on('error', () => {})
}

/** Internals of ws: before its CONNECT a socket may send no frame larger than a CONNECT. */
interface Receiver {
  _maxPayload: number
}
interface Receiving extends WebSocket {
  readonly _receiver?: Receiver
}

/** Logs oversized frames, at most once a second. */
function largeFrameLog(maxPacketBytes: number, logger: Logger | undefined): (error: Error) => void {
  const log = sampleLog<undefined>((_fields, suppressed) =>
    logger?.warn(
      { maxPacketBytes, connectBytes: MAX_SIZES.connectBytes, suppressed },
      `WebSocket frame refused, connection closed: --max-packet-bytes is ${maxPacketBytes}`,
    ),
  )
  return error => {
    if ((error as NodeJS.ErrnoException).code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') log(undefined)
  }
}
