import { connect, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'
import { beforeAll, expect, it } from 'vitest'
import { connectPacket } from '../brokers/mqtt-gateway/raw-peer.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

/** More than the backlog of Mosquitto takes, which is 100. */
const EARLY = 300
const CLIENTS = 1_500
const PENDING = 64

beforeAll(ensureBuilt, 120_000)

it('a broker that stood still stays healthy when 1,500 clients connect at once, and accepts them all', async () => {
  using folder = new Folder()
  await using mosquitto = await startMosquitto()
  const policy = folder.file('policy.yaml', 'rules: [{ name: all, per: client, limit: 10/s }]')
  await using gateway = startCommand(
    ...['gateway', policy, '--upstream', mosquitto.url, '--port', '0', '--health', '0'],
  )
  const { port, msg } = await logged(gateway, /ready/)
  const metricsUrl = /http:\S+/.exec(String(msg))![0].replace('ready', 'metrics')
  const readMetric = async (name: string): Promise<number> => {
    const text = await (await fetch(metricsUrl)).text()
    return Number(new RegExp(`^topicgate_gateway_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1])
  }
  const sockets: Socket[] = []
  const codes: number[] = []
  const connectClients = (until: number): void => {
    while (sockets.length < until) {
      const clientId = `c${sockets.length}`
      const socket = connect({ port: Number(port), host: '127.0.0.1' }).on('error', () => {})
      socket.write(mqttPacket.generate(connectPacket({ clientId })))
      socket.once('data', connack => void codes.push(connack[3]!))
      sockets.push(socket)
    }
  }
  try {
    process.kill(mosquitto.pid, 'SIGSTOP')
    connectClients(EARLY)
    await until(async () => (await readMetric('upstream_waiting_connects')) === EARLY - PENDING)
    expect(await readMetric('upstream_pending_connects')).toBe(PENDING)
    process.kill(mosquitto.pid, 'SIGCONT')
    connectClients(CLIENTS)
    await until(() => codes.length === CLIENTS, { what: () => `${CLIENTS} CONNACKs, not ${codes.length}` })
    expect(new Set(codes)).toEqual(new Set([0]))
    expect(await readMetric('upstream_healthy')).toBe(1)
    expect(await readMetric('upstream_waiting_connects')).toBe(0)
    expect(gateway.stdout).not.toContain('not reachable')
    expect(gateway.stdout).not.toContain('no connection to the broker')
  } finally {
    process.kill(mosquitto.pid, 'SIGCONT')
    for (const socket of sockets) socket.destroy()
  }
})
