import { appendFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { natsGateway } from '../../brokers/nats-gateway/index.ts'
import { Gate, limit } from '../../src/index.ts'
import type { NatsServer } from './nats.ts'

const RATE = '1000000/s'

/**
 * Starts a gateway in front of a server, with limits that no test reaches. `port` is the port of the gateway, 0 for a free
 * one. When the gateway stops, it appends the number of its connections to the server to `file`.
 */
export async function putBehindGateway(server: NatsServer, port: number, file: string): Promise<NatsServer> {
  const gate = new Gate({ dialect: 'nats' }).use(
    limit({ name: 'messages', rate: RATE, per: 'client', exceeded: 'throttle' }),
    limit({ name: 'subscriptions', on: 'subscribe', rate: RATE, per: 'client', exceeded: 'reject' }),
    limit({ name: 'deliveries', on: 'deliver', rate: RATE, per: 'client', exceeded: 'drop' }),
    limit({ name: 'connects', on: 'connect', rate: RATE, per: 'ip', exceeded: 'reject' }),
  )
  const connectUpstream = (): Socket => connect({ port: server.port, host: '127.0.0.1', noDelay: true })
  const gateway = natsGateway(gate, { connectUpstream })
  const listener = createServer({ noDelay: true }, socket =>
    gateway.handle(socket, { ip: socket.remoteAddress ?? '', port: socket.remotePort }),
  )
  await new Promise<void>(resolve => listener.listen(port, '127.0.0.1', resolve))
  const { port: gatewayPort } = listener.address() as AddressInfo
  const stop: NatsServer['stop'] = async signal => {
    await server.stop(signal)
    appendFileSync(file, `${gateway.stats().upstreamConnects}\n`)
    await gateway.close({ graceMs: 1 })
    await new Promise(resolve => listener.close(resolve))
    await gate.close()
  }
  const url = `nats://127.0.0.1:${gatewayPort}`
  return { ...server, port: gatewayPort, url, stop, [Symbol.asyncDispose]: () => stop() }
}
