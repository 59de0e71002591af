import { fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { connect } from 'mqtt'
import mqttPacket from 'mqtt-packet'
import { limitConsumer } from '../brokers/mqtt/index.ts'
import { Gate, limit } from '../src/index.ts'
import { measureMemory, report } from './harness.ts'
import { makeGate } from './load.ts'

/**
 * One cell: CPU of a consumer's process per message. Arguments: subject (bare, topicgate, queued), QoS, messages. The
 * broker is a stream of ready packets from a process of its own, faster than any client reads.
 */
const [subject, qos, messages] = process.argv.slice(2) as [string, string, string]
const count = Number(messages)

if (subject === 'source') serve()
else if (subject === 'queued') await measureQueue()
else await measureCpu()

async function measureCpu(): Promise<void> {
  const source = fork(fileURLToPath(import.meta.url), ['source', qos, messages])
  const [port] = (await once(source, 'message')) as [number]
  const client = connect({ port, host: '127.0.0.1', reconnectPeriod: 0 })
  let seen = 0
  const ended = new Promise<void>(resolve => {
    const take = (): void => {
      if (++seen === count) resolve()
    }
    if (subject === 'topicgate') limitConsumer(client, makeGate(3, 'allowed'), { handler: take })
    else client.on('message', take)
  })
  await new Promise(resolve => client.once('connect', resolve))
  const startCpu = process.cpuUsage()
  const start = process.hrtime.bigint()
  await client.subscribeAsync('fleet/#', { qos: Number(qos) as 0 | 1 })
  await ended
  const spent = process.cpuUsage(startCpu)
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  source.kill()
  report({ cpuNs: ((spent.user + spent.system) * 1_000) / count, perSecond: count / seconds })
}

/** Bytes a queued message takes, payload and all. */
async function measureQueue(): Promise<void> {
  const source = fork(fileURLToPath(import.meta.url), ['source', qos, messages])
  const [port] = (await once(source, 'message')) as [number]
  const client = connect({ port, host: '127.0.0.1', reconnectPeriod: 0 })
  const queue = { max: 100_000, bytes: '256MB', order: 'arrival' } as const
  const gate = new Gate().use(limit({ name: 'all', rate: '1 per 60s', exceeded: { queue } }))
  const limits = limitConsumer(client, gate, { handler: () => {}, maxHeldTotal: 100_000 })
  await new Promise(resolve => client.once('connect', resolve))
  const before = measureMemory()
  await client.subscribeAsync('fleet/#', { qos: Number(qos) as 0 | 1 })
  while (limits.stats().received < count) await new Promise(resolve => setTimeout(resolve, 10))
  const after = measureMemory()
  source.kill()
  const { held, overflowed } = limits.stats()
  report({ held, overflowed, bytesEach: (after.heap - before.heap) / held, rss: after.rss - before.rss })
}

/** Answers CONNECT and SUBSCRIBE, then writes all messages as fast as they are read. */
function serve(): void {
  const payload = Buffer.alloc(100, 'x')
  const topics = Array.from(
    { length: 1_000 },
    (_, index) => `fleet/site-${index % 20}/device-${index}/telemetry/temperature`,
  )
  const server = createServer({ noDelay: true }, socket => {
    const parser = mqttPacket.parser()
    parser.on('packet', packet => {
      if (packet.cmd === 'connect')
        socket.write(mqttPacket.generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }))
      if (packet.cmd !== 'subscribe') return
      const { messageId = 1 } = packet
      socket.write(mqttPacket.generate({ cmd: 'suback', messageId, granted: [Number(qos)] }))
      void flood(socket)
    })
    socket.on('data', chunk => parser.parse(chunk))
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))

  async function flood(socket: Socket): Promise<void> {
    for (let sent = 0; sent < count; ) {
      const packets: Buffer[] = []
      for (let each = 0; each < 500 && sent < count; each++, sent++) {
        const messageId = (sent % 65_000) + 1
        const topic = topics[sent % topics.length]!
        packets.push(
          mqttPacket.generate({
            ...{ cmd: 'publish', topic, payload, qos: Number(qos) as 0 | 1 },
            ...{ retain: false, dup: false, messageId },
          }),
        )
      }
      if (!socket.write(Buffer.concat(packets))) await once(socket, 'drain')
    }
  }
}
