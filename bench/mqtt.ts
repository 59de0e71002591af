import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { connect, type MqttClient } from 'mqtt'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { limitConsumer } from '../brokers/mqtt/index.ts'
import { Gate, limit } from '../src/index.ts'
import { startMosquitto } from '../test/support/mosquitto.ts'
import { measureMemory, report } from './harness.ts'
import { makeGate } from './load.ts'

/**
 * One cell. `bare` and `topicgate`: CPU of a consumer's process per message, behind a Mosquitto with a publisher of its
 * own. `feed-bare` and `feed-topicgate`: ns a message where packets come out of memory, without a socket: what is between
 * them is all we add. `queued`: bytes a queued message takes. Arguments: subject, version (4, 5), QoS, messages.
 */
const [subject, version, quality, messages] = process.argv.slice(2) as [string, string, string, string]
const qos = Number(quality) as 0 | 1
const count = Number(messages)
/** Received before anything is measured. */
const warmUp = Math.floor(count / 5)
const options = {
  ...{ host: '127.0.0.1', reconnectPeriod: 0, clientId: 'consumer' },
  protocolVersion: Number(version) as 4 | 5,
}
let bytes = 0

if (subject === 'queued') await measureQueue()
else if (subject.startsWith('feed')) measureFeed()
else await measureCpu()

/** What any handler does: it looks where a message came from and what it holds. */
function look(topic: string, payload: Buffer): void {
  bytes += topic.length + payload.length
}

function attach(client: MqttClient, take: (topic: string, payload: Buffer) => void): void {
  if (subject.endsWith('topicgate')) limitConsumer(client, makeGate(3, 'allowed'), { handler: take })
  else client.on('message', take)
}

async function measureCpu(): Promise<void> {
  const broker = await startBroker()
  const client = connect({ port: broker.port, ...options })
  let seen = 0
  let startCpu: NodeJS.CpuUsage | undefined
  let start = 0n
  const ended = new Promise<void>(resolve =>
    attach(client, (topic, payload) => {
      look(topic, payload)
      if (++seen === count) resolve()
      else if (seen === warmUp) {
        startCpu = process.cpuUsage()
        start = process.hrtime.bigint()
      }
    }),
  )
  await client.subscribeAsync('fleet/#', { qos })
  const flood = startFlood(broker.port)
  await ended
  const spent = process.cpuUsage(startCpu)
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  flood.disconnect()
  await client.endAsync(true)
  await broker.stop()
  const measured = count - warmUp
  report({ cpuNs: ((spent.user + spent.system) * 1_000) / measured, perSecond: measured / seconds, bytes })
}

/** Packets parsed from memory and handed on as MQTT.js does at QoS 0; the same work on both sides. */
function measureFeed(): void {
  const client = connect({ ...options, manualConnect: true })
  attach(client, look)
  const packets = Array.from({ length: 1_000 }, (_, index) => {
    const topic = `fleet/site-${index % 20}/device-${index}/telemetry/temperature`
    return mqttPacket.generate({
      ...{ cmd: 'publish', topic, payload: Buffer.alloc(100, 'x'), qos: 0, retain: false, dup: false },
    })
  })
  const chunk = Buffer.concat(packets)
  const parser = mqttPacket.parser(options)
  const parsed: Packet[] = []
  parser.on('packet', packet => parsed.push(packet))
  const next = (): void => {}
  const perPass = 20_000
  let best = Infinity
  for (let pass = 0; pass < count / perPass; pass++) {
    const start = process.cpuUsage()
    for (let sent = 0; sent < perPass; sent += packets.length) {
      parser.parse(chunk)
      for (const packet of parsed) {
        if (packet.cmd !== 'publish') continue
        client.emit('message', packet.topic, packet.payload as Buffer, packet)
        client.handleMessage(packet, next)
      }
      parsed.length = 0
    }
    const { user, system } = process.cpuUsage(start)
    best = Math.min(best, ((user + system) * 1_000) / perPass)
  }
  report({ cpuNs: best, bytes })
}

/** Bytes a queued message takes, payload and all. */
async function measureQueue(): Promise<void> {
  const broker = await startBroker()
  const client = connect({ port: broker.port, ...options })
  const queue = { max: 100_000, bytes: '256MB', order: 'arrival' } as const
  const gate = new Gate().use(limit({ name: 'all', rate: '1 per 60s', exceeded: { queue } }))
  const limits = limitConsumer(client, gate, { handler: look, maxHeldTotal: 100_000 })
  await client.subscribeAsync('fleet/#', { qos })
  const before = measureMemory()
  const flood = startFlood(broker.port)
  while (limits.stats().received < count) await new Promise(resolve => setTimeout(resolve, 10))
  const after = measureMemory()
  flood.disconnect()
  const { held, overflowed } = limits.stats()
  await client.endAsync(true)
  await broker.stop()
  report({ held, overflowed, bytesEach: (after.heap - before.heap) / held, rss: after.rss - before.rss })
}

/** A broker that loses nothing of a flood: all that its consumer has not read yet waits. */
function startBroker(): ReturnType<typeof startMosquitto> {
  return startMosquitto({ config: ['max_queued_messages 0'] })
}

function startFlood(port: number): ChildProcess {
  return fork(fileURLToPath(new URL('./mqtt-flood.js', import.meta.url)), [String(port), quality, messages])
}
