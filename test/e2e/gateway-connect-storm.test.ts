import { connect, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'
import { beforeAll, expect, it } from 'vitest'
import { connectPacket } from '../brokers/mqtt-gateway/raw-peer.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { until } from '../support/wait.ts'
import { startGatewayProcess } from './gateway-process.ts'

/** More than the backlog of Mosquitto takes, which is 100. */
const EARLY = 300
const CLIENTS = 1_500
const PENDING = 64
const ADDRESSES = 5

beforeAll(ensureBuilt, 120_000)

it('a broker that stood still stays healthy when 1,500 clients connect at once, and accepts them all', async () => {
  using folder = new Folder()
  await using mosquitto = await startMosquitto()
  const policy = 'rules: [{ name: all, per: client, limit: 10/s }]'
  await using gateway = await startGatewayProcess(folder, policy, mosquitto.url)
  const sockets: Socket[] = []
  const codes: number[] = []
  const connectClients = (until: number): void => {
    while (sockets.length < until) {
      const clientId = `c${sockets.length}`
      // From several addresses, as one may have 1,000 sockets that have not sent their CONNECT.
      const localAddress = `127.0.0.${1 + (sockets.length % ADDRESSES)}`
      const socket = connect({ port: gateway.port, host: '127.0.0.1', localAddress }).on('error', () => {})
      socket.write(mqttPacket.generate(connectPacket({ clientId })))
      socket.once('data', connack => void codes.push(connack[3]!))
      sockets.push(socket)
    }
  }
  try {
    process.kill(mosquitto.pid, 'SIGSTOP')
    connectClients(EARLY)
    await until(async () => (await gateway.readMetric('topicgate_gateway_upstream_waiting_connects')) > 0)
    expect(await gateway.readMetric('topicgate_gateway_upstream_pending_connects')).toBeLessThanOrEqual(
      PENDING,
    )
    process.kill(mosquitto.pid, 'SIGCONT')
    connectClients(CLIENTS)
    await until(() => codes.length === CLIENTS, { what: () => `${CLIENTS} CONNACKs, not ${codes.length}` })
    expect(new Set(codes)).toEqual(new Set([0]))
    expect(await gateway.readMetric('topicgate_gateway_upstream_healthy')).toBe(1)
    expect(await gateway.readMetric('topicgate_gateway_upstream_waiting_connects')).toBe(0)
    expect(gateway.output()).not.toContain('not reachable')
    expect(gateway.output()).not.toContain('no connection to the broker')
  } finally {
    process.kill(mosquitto.pid, 'SIGCONT')
    for (const socket of sockets) socket.destroy()
  }
})
