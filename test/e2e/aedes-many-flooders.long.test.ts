import { fork } from 'node:child_process'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'
import mqttPacket from 'mqtt-packet'
import { beforeAll, describe, expect, it } from 'vitest'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../src/gate/gate.ts'
import { startBroker } from '../brokers/aedes/harness.ts'
import { startFlood } from './flood.ts'
import { pause } from './pause.ts'

const FLOODERS = 50
const EVERY_MS = 50

interface Trip {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly lost: number
}

/** Listens to the whole flood and throws it away. */
function listenTo(port: number): () => void {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  socket.write(
    mqttPacket.generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: 'listener',
      keepalive: 0,
    }),
  )
  const subscriptions = [{ topic: 't/flood/#', qos: 0 as const }]
  socket.write(mqttPacket.generate({ cmd: 'subscribe', messageId: 1, subscriptions }))
  return () => socket.destroy()
}

/** The way of a good client's messages to itself through a broker that fifty others flood. */
async function measure(port: number, forMs: number, waitMs: number): Promise<Trip> {
  const endListening = listenTo(port)
  const good = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: 'good', reconnectPeriod: 0 })
  good.on('error', () => {})
  const trips: number[] = []
  good.on('message', (_, payload) => trips.push(performance.now() - Number(payload.toString())))
  await good.subscribeAsync('t/good', { qos: 1 })
  const flood = startFlood({ port, clients: FLOODERS, topic: 't/flood', payloadBytes: 64, qos: 0, count: 0 })
  await pause(2_000)
  const endMs = performance.now() + forMs
  let sent = 0
  while (performance.now() < endMs) {
    good.publish('t/good', String(performance.now()), { qos: 1 })
    sent++
    await pause(EVERY_MS)
  }
  await pause(waitMs)
  const arrived = trips.length
  await flood.end()
  endListening()
  good.end(true)
  trips.sort((a, b) => a - b)
  const at = (part: number) => trips[Math.floor(arrived * part)] ?? Number.POSITIVE_INFINITY
  return { p50Ms: at(0.5), p99Ms: at(0.99), lost: sent - arrived }
}

async function measureBare(): Promise<Trip> {
  const child = fork(fileURLToPath(new URL('./bare-broker.js', import.meta.url)), {
    execArgv: [],
    silent: true,
  })
  const port = await new Promise<number>(resolve => {
    child.once('message', (message: { port: number }) => resolve(message.port))
  })
  const trip = await measure(port, 3_000, 3_000)
  child.kill('SIGKILL')
  return trip
}

async function measureLimited(exceeded: 'drop' | 'throttle'): Promise<Trip> {
  const gate = new Gate().use('t/#', limit({ name: 't', rate: '100/s burst 100', per: 'client', exceeded }))
  const running = await startBroker({ gate })
  try {
    return await measure(running.port, 6_000, 1_000)
  } finally {
    await running.close()
  }
}

function show(name: string, { p50Ms, p99Ms, lost }: Trip): void {
  console.log(
    `${FLOODERS} flooders, ${name}: p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, ${lost} not back`,
  )
}

describe('a good client among fifty that flood', () => {
  let bare: Trip
  beforeAll(async () => {
    bare = await measureBare()
    show('no limits', bare)
  })

  it.each(['drop', 'throttle'] as const)(
    'has its messages back many times sooner than without limits and loses none under %s',
    async exceeded => {
      const trip = await measureLimited(exceeded)
      show(exceeded, trip)
      expect(trip.lost).toBe(0)
      expect(trip.p50Ms).toBeLessThan(bare.p50Ms / 5)
    },
  )
})
