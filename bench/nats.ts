import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import * as v3js from '@nats-io/jetstream'
import * as v3 from '@nats-io/transport-node'
import * as v2 from 'nats'
import {
  type JetStreamMessage,
  limitNats,
  type NatsConnection,
  type NatsMessage,
  type PullConsumer,
} from '../brokers/nats/index.ts'
import { Gate, limit } from '../src/index.ts'
import { startNats } from '../test/support/nats.ts'
import { measureMemory, report } from './harness.ts'

/**
 * One cell: CPU of a consumer per message; or the heap of queued messages. Arguments: subject (bare, topicgate, queued),
 * kind (core, jetstream), generation of the client (2, 3), messages.
 */
const [subject, kind, generation, messages] = process.argv.slice(2) as [string, string, string, string]
const count = Number(messages)
/** Messages before those that are measured: a consumer runs for days, its first second is that of the compiler. */
const WARM_UP = subject === 'queued' ? 0 : 100_000

const server = await startNats({ jetstream: kind === 'jetstream' })
const connection =
  generation === '2' ? await v2.connect({ servers: server.url }) : await v3.connect({ servers: server.url })
const nc = connection as unknown as NatsConnection & { flush(): Promise<void> }

const rate = subject === 'queued' ? '1/min' : '1000000/s burst 1000000000'
const exceeded = subject === 'queued' ? ({ queue: { max: 100_000, bytes: '256MiB' } } as const) : 'drop'
const gate = new Gate({ dialect: 'nats' }).use(
  'fleet.{site}.{device}.>',
  limit({ name: 'by-device', rate, per: 'device', exceeded }),
  limit({ name: 'by-site', rate, per: 'site', exceeded }),
  limit({ name: 'by-topic', rate, per: 'topic', exceeded }),
)
const limits = limitNats(gate, { ack: 'manual' })

let seen = 0
let bytes = 0
let startCpu: NodeJS.CpuUsage | undefined
let start = 0n
let finish: () => void = () => {}
const finished = new Promise<void>(resolve => {
  finish = resolve
})

/** What any handler does: it looks where a message came from and what it holds. */
function handle(message: NatsMessage): void {
  if (seen === WARM_UP) {
    startCpu = process.cpuUsage()
    start = process.hrtime.bigint()
  }
  bytes += message.data.length + message.subject.length
  if (++seen === WARM_UP + count) finish()
}

async function flood(): Promise<void> {
  const child = fork(fileURLToPath(new URL('./nats-flood.js', import.meta.url)), [
    server.url,
    String(WARM_UP + count),
  ])
  await once(child, 'exit')
}

async function makeConsumer(): Promise<PullConsumer> {
  const manager = (await (generation === '2'
    ? (connection as v2.NatsConnection).jetstreamManager()
    : v3js.jetstreamManager(connection as v3.NatsConnection))) as v3js.JetStreamManager
  await manager.streams.add({ name: 'fleet', subjects: ['fleet.>'], storage: 'memory' as v3js.StorageType })
  await manager.consumers.add('fleet', {
    durable_name: 'bench',
    ack_policy: 'explicit' as v3js.AckPolicy,
    max_ack_pending: -1,
  })
  const js = (
    generation === '2'
      ? (connection as v2.NatsConnection).jetstream()
      : v3js.jetstream(connection as v3.NatsConnection)
  ) as v3js.JetStreamClient
  return (await js.consumers.get('fleet', 'bench')) as unknown as PullConsumer
}

function handleAndAck(message: JetStreamMessage): void {
  message.ack()
  handle(message)
}

if (subject === 'queued') {
  const before = measureMemory()
  limits.subscribe(nc, 'fleet.>', { callback: handle })
  await nc.flush()
  await flood()
  while (limits.stats().received < count) await new Promise(resolve => setTimeout(resolve, 20))
  const after = measureMemory()
  const { held } = limits.stats()
  await server.stop()
  report({ held, bytesEach: (after.heap - before.heap) / held })
} else {
  if (kind === 'core') {
    if (subject === 'bare') nc.subscribe('fleet.>', { callback: (_error, message) => handle(message) })
    else limits.subscribe(nc, 'fleet.>', { callback: handle })
    await nc.flush()
    await flood()
  } else {
    const consumer = await makeConsumer()
    await flood()
    const pull = { max_messages: 1_000 }
    if (subject === 'bare') await consumer.consume({ ...pull, callback: handleAndAck })
    else await limits.consume(consumer, handleAndAck, pull)
  }
  await finished
  const spent = process.cpuUsage(startCpu)
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  await server.stop()
  report({ cpuNs: ((spent.user + spent.system) * 1_000) / count, perSecond: count / seconds, bytes })
}
