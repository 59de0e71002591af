import { once } from 'node:events'
import mqttPacket from 'mqtt-packet'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { MqttGateway } from '../../../../brokers/mqtt-gateway/index.ts'
import { startGateway } from '../../../../src/cli/gateway/start-gateway.ts'
import type { RunningServer } from '../../../../src/cli/server/server-types.ts'
import { parseUpstream } from '../../../../src/cli/upstreams/upstream.ts'
import { UpstreamPool } from '../../../../src/cli/upstreams/upstream-pool.ts'
import { SILENT } from '../../../../src/core/logger.ts'
import { Gate, limit } from '../../../../src/index.ts'
import {
  connectPacket,
  publishPacket,
  type RawPeer,
  startScriptedBroker,
} from '../../../brokers/mqtt-gateway/raw-peer.ts'
import { until } from '../../../support/wait.ts'

let server: RunningServer | undefined
afterEach(async () => {
  await server?.close(0)
  server = undefined
})

async function start(brokerPort: number, gate = new Gate()): Promise<number> {
  const addresses = [parseUpstream(`mqtt://127.0.0.1:${brokerPort}`)]
  const pool = new UpstreamPool({ addresses, tls: undefined, sendsProxyHeader: false, logger: SILENT })
  const options = {
    host: '127.0.0.1',
    port: undefined,
    wsPort: 0,
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
  server = await startGateway(options, gate, pool, undefined, SILENT)
  return server.wsPort!
}

async function open(port: number, protocol = 'mqtt'): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, protocol)
  socket.on('error', () => {})
  await once(socket, 'open')
  return socket
}

/** Returns the connection of a client; the first one is that of the health check. */
async function upstreamOf(peers: readonly RawPeer[]): Promise<RawPeer> {
  return until(() => peers.find(peer => peer.count('connect') > 0), { what: 'a CONNECT' })
}

function encode(packet: mqttPacket.Packet): Buffer {
  return mqttPacket.generate(packet)
}

const ACCEPTED = { cmd: 'connack', returnCode: 0, sessionPresent: false } as const

describe('a WebSocket of the gateway', () => {
  it.each(['mqtt', 'mqttv3.1'])('has the subprotocol %s that its client asks for', async protocol => {
    await using broker = await startScriptedBroker()
    const socket = await open(await start(broker.port), protocol)
    expect(socket.protocol).toBe(protocol)
    socket.close()
  })

  it('carries packets however they are cut into frames', async () => {
    await using broker = await startScriptedBroker()
    const socket = await open(await start(broker.port))
    const frames: Buffer[] = []
    socket.on('message', data => frames.push(data as Buffer))
    const sent = Buffer.concat(
      [connectPacket({ clientId: 'c' }), publishPacket('a'), publishPacket('b')].map(encode),
    )
    for (let at = 0; at < sent.length; at += 5) socket.send(sent.subarray(at, at + 5))
    const upstream = await upstreamOf(broker.peers)
    upstream.send(ACCEPTED)
    await upstream.received('publish', 2)
    expect(upstream.bytes.equals(sent)).toBe(true)
    const delivery = upstream.encode(publishPacket('a', { payload: Buffer.alloc(1_000) }))
    upstream.send(delivery.subarray(0, 100))
    upstream.send(delivery.subarray(100), delivery)
    await until(() => frames.length === 3)
    expect(frames.map(({ length }) => length)).toEqual([4, delivery.length, delivery.length])
    socket.close()
    await upstream.closed()
  })

  it('is not read on while a message of its client is held', async () => {
    const gate = new Gate().use(limit({ name: 'r', rate: '1/hour burst 1', exceeded: 'throttle' }))
    await using broker = await startScriptedBroker()
    const socket = await open(await start(broker.port, gate))
    socket.send(encode(connectPacket({ clientId: 'c' })))
    const upstream = await upstreamOf(broker.peers)
    upstream.send(ACCEPTED)
    // More than the buffers of the system take.
    const packet = encode(publishPacket('a', { payload: Buffer.alloc(100_000) }))
    const count = 300
    for (let index = 0; index < count; index++) socket.send(packet)
    await upstream.received('publish')
    const gateway = server!.limits as MqttGateway
    await until(() => gateway.stats().clientsUnread === 1)
    expect(gateway.stats().heldBytes).toBeLessThan(2 * packet.length)
    expect(socket.bufferedAmount).toBeGreaterThan((count / 2) * packet.length)
    socket.terminate()
  })
})
