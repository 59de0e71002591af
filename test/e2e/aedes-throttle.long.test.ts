import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import mqtt from 'mqtt'
import { afterEach, describe, expect, it } from 'vitest'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../src/gate/gate.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from '../brokers/aedes/harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

describe('throttle on a real broker', () => {
  it.each([
    [0, 2],
    [1, 3],
    [2, 2],
  ] as const)(
    'at QoS %i brings 2,000 messages through in order, none lost or doubled, with a keepalive of %i s',
    async (qos, keepalive) => {
      const gate = new Gate().use(
        't/#',
        limit({ name: 't', rate: '400/s burst 100', per: 'client', exceeded: 'throttle' }),
      )
      running = await startBroker({ gate })
      const lost: string[] = []
      running.broker.on('clientError', (client, error) => lost.push(`${client.id}: ${error.message}`))
      const seen = await subscribeAll(await running.connect(), 't/#', qos)
      const publisher = await running.connect({ clientId: 'pub', keepalive })
      const startMs = performance.now()
      for (let i = 0; i < 2_000; i++) publisher.publish('t/x', String(i), { qos })
      await eventually(() => expect(seen).toHaveLength(2_000), 60_000)
      const tookMs = performance.now() - startMs
      expect(seen.map(({ text }) => Number(text))).toEqual(Array.from({ length: 2_000 }, (_, i) => i))
      // 1,900 beyond the burst at 400 a second take 4.75 s: twice the keepalive.
      expect(tookMs).toBeGreaterThan(4_600)
      expect(lost).toEqual([])
      expect(publisher.connected).toBe(true)
      expect(running.limits.stats()).toMatchObject({ held: 0, overflowed: 0, discarded: 0 })
    },
    300_000,
  )

  it('holds over WebSocket as well', async () => {
    const gate = new Gate().use(
      't/#',
      limit({ name: 't', rate: '1000/s burst 100', per: 'client', exceeded: 'throttle' }),
    )
    running = await startBroker({ gate })
    const { broker } = running
    const server = createServer()
    const sockets = new WebSocketServer({ server })
    sockets.on('connection', (socket, request) => void broker.handle(createWebSocketStream(socket), request))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const seen = await subscribeAll(await running.connect(), 't/#')
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
    const publisher = await mqtt.connectAsync(url, { keepalive: 2, reconnectPeriod: 0 })
    for (let i = 0; i < 4_000; i++) publisher.publish('t/x', String(i), { qos: 0 })
    await eventually(() => expect(seen).toHaveLength(4_000), 60_000)
    expect(seen.map(({ text }) => Number(text))).toEqual(Array.from({ length: 4_000 }, (_, i) => i))
    expect(publisher.connected).toBe(true)
    publisher.end(true)
    sockets.close()
    server.closeAllConnections()
    await new Promise<void>(resolve => server.close(() => resolve()))
  }, 300_000)

  it('reads small messages no further than it may hold, however many stand behind', async () => {
    const gate = new Gate().use(
      't/#',
      limit({ name: 't', rate: '20000/s burst 100', per: 'client', exceeded: 'throttle' }),
    )
    running = await startBroker({ gate })
    const seen = await subscribeAll(await running.connect(), 't/#')
    const raw = await running.connectRaw({ clientId: 'r', keepalive: 2 })
    const all = Array.from({ length: 60_000 }, (_, i) => raw.publish('t/x', { payload: String(i) }))
    raw.send(...all)
    await eventually(() => expect(seen).toHaveLength(60_000), 60_000)
    expect(seen.every(({ text }, i) => Number(text) === i)).toBe(true)
    expect(running.limits.stats()).toMatchObject({ overflowed: 0, dropped: 0 })
    expect(running.limits.stats().heldPeak).toBeLessThan(16_384)
  }, 300_000)
})
