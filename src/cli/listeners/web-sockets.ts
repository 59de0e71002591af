import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { systemClock } from '../../core/clock.ts'
import { SILENT } from '../../core/logger.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { ThrottledLog } from '../../core/throttled-log.ts'
import type { Dialect, Logger } from '../../index.ts'
import { webSocketStream } from './web-socket-stream.ts'

/** Does the WebSocket handshakes of accepted sockets. */
export class WebSockets {
  readonly #server: Server
  readonly #maxPacketBytes: number
  readonly #receivers = new WeakMap<object, Receiver>()

  /** `onConnection` is called with the bytes of each WebSocket and its request. */
  constructor(
    protocol: Dialect,
    maxPacketBytes: number,
    logger: Logger | undefined,
    onConnection: (stream: Duplex, request: IncomingMessage) => void,
  ) {
    this.#maxPacketBytes = maxPacketBytes
    this.#server = createServer((_request, response) => {
      response.writeHead(426, { upgrade: 'websocket', connection: 'upgrade', 'content-type': 'text/plain' })
      response.end(`This port serves ${protocol.toUpperCase()} over WebSocket.\n`)
    })
    const ws = new WebSocketServer({
      server: this.#server,
      perMessageDeflate: false,
      // A frame is buffered completely before any check of MQTT.
      maxPayload: maxPacketBytes,
      // MQTT 3.1.1 names "mqtt" [MQTT-6.0.0-3]; clients of 3.1 ask for "mqttv3.1".
      handleProtocols: offered => [...offered].find(name => name === 'mqtt' || name === 'mqttv3.1') ?? false,
    })
    const onError = largeFrameLog(maxPacketBytes, logger)
    ws.on('connection', (socket, request) => {
      const receiver = (socket as Receiving)._receiver
      if (typeof receiver?._maxPayload === 'number') {
        receiver._maxPayload = Math.min(maxPacketBytes, MAX_SIZES.connectBytes)
        this.#receivers.set(request.socket, receiver)
      }
      socket.on('error', onError)
      onConnection(webSocketStream(socket, protocol), request)
    })
    ws.on('wsClientError', (_error, socket) => socket.destroy())
    // It repeats errors of its server, which are handled there.
    ws.on('error', () => {})
  }

  handle(socket: Socket): void {
    this.#server.emit('connection', socket)
  }

  /** Allows large frames of a socket that has sent its CONNECT. */
  markConnected(socket: object): void {
    const receiver = this.#receivers.get(socket)
    if (receiver !== undefined) receiver._maxPayload = this.#maxPacketBytes
  }
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
  const log = new ThrottledLog(systemClock, logger ?? SILENT)
  const fields = { maxPacketBytes, connectBytes: MAX_SIZES.connectBytes }
  const text = `WebSocket frame refused, connection closed: --max-packet-bytes is ${maxPacketBytes}`
  return error => {
    if ((error as NodeJS.ErrnoException).code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') log.log(fields, text)
  }
}
