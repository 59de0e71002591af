import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  type NatsGateway,
  type NatsGatewayOptions,
  natsGateway,
} from '../../../brokers/nats-gateway/index.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'

export interface TestGateway extends AsyncDisposable {
  readonly gateway: NatsGateway
  readonly gate: Gate
  readonly server: NatsServer
  /** Address of the gateway. */
  readonly url: string
  readonly port: number
  close(): Promise<void>
}

export interface TestGatewayOptions {
  readonly gate?: Gate
  readonly gateway?: Partial<NatsGatewayOptions>
  readonly server?: Parameters<typeof startNats>[0]
  /** Called with each connection to the server. */
  readonly onUpstream?: (socket: Socket) => Duplex
}

/** Starts a NATS server, and a gateway in front of it. */
export async function startGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gate = options.gate ?? new Gate({ dialect: 'nats' })
  const sockets = new Set<Socket>()
  let serverPort = 0
  // Before the server, because it throws for rules that it cannot enact.
  const gateway = natsGateway(gate, {
    connectUpstream: () =>
      new Promise((resolve, reject) => {
        const socket = connect({ port: serverPort, host: '127.0.0.1', noDelay: true })
        socket.once('connect', () => resolve(options.onUpstream?.(socket) ?? socket))
        socket.once('error', reject)
      }),
    ...options.gateway,
  })
  const server = await startNats(options.server)
  serverPort = server.port
  const listener = createServer({ noDelay: true }, socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    gateway.handle(socket, { ip: socket.remoteAddress ?? '', port: socket.remotePort })
  })
  await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo
  const close = async (): Promise<void> => {
    await gateway.close({ graceMs: 1 })
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => listener.close(resolve))
    await server.stop()
    await gate.close()
  }
  return { gateway, gate, server, url: `nats://127.0.0.1:${port}`, port, close, [Symbol.asyncDispose]: close }
}
