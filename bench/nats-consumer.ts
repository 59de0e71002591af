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

/**
 * A consumer that handles slices of messages, told `go` for each, and tells CPU nanoseconds a message. Arguments: url, subject
 * (bare, topicgate), kind (core, jetstream, manual), generation of the client (2, 3), first token of its subjects, messages a slice.
 */
const [url, subject, kind, generation, token, messages] = process.argv.slice(2) as [
  ...[string, string, string, string, string],
  string,
]
const count = Number(messages)
const connection =
  generation === '2' ? await v2.connect({ servers: url }) : await v3.connect({ servers: url })
const nc = connection as unknown as NatsConnection & { flush(): Promise<void> }

const rate = '1000000/s burst 1000000000'
const gate = new Gate({ dialect: 'nats' }).use(
  `${token}.{site}.{device}.>`,
  limit({ name: 'by-device', rate, per: 'device', exceeded: 'drop' }),
  limit({ name: 'by-site', rate, per: 'site', exceeded: 'drop' }),
  limit({ name: 'by-topic', rate, per: 'topic', exceeded: 'drop' }),
)
const limits = limitNats(gate, kind === 'manual' ? { ack: 'manual' } : {})

let seen = 0
let bytes = 0
let startCpu: NodeJS.CpuUsage | undefined
let finish: (cpuNs: number) => void = () => {}
let finished = nextSlice()

/** What the next slice takes: its first messages may come before anybody asks. */
function nextSlice(): Promise<number> {
  seen = 0
  return new Promise(resolve => {
    finish = resolve
  })
}

/** What any handler does: it looks where a message came from and what it holds. */
function handle(message: NatsMessage): void {
  if (seen === 0) startCpu = process.cpuUsage()
  bytes += message.data.length + message.subject.length
  if (++seen < count) return
  const { user, system } = process.cpuUsage(startCpu)
  finish(((user + system) * 1_000) / count)
}

function handleAndAck(message: JetStreamMessage): void {
  message.ack()
  handle(message)
}

async function findConsumer(): Promise<PullConsumer> {
  const js = (
    generation === '2'
      ? (connection as v2.NatsConnection).jetstream()
      : v3js.jetstream(connection as v3.NatsConnection)
  ) as v3js.JetStreamClient
  return (await js.consumers.get(token, 'bench')) as unknown as PullConsumer
}

/** Takes messages until the returned function is called. */
async function consume(consumer: PullConsumer): Promise<() => Promise<unknown>> {
  const pull = { max_messages: 1_000 }
  if (subject === 'topicgate') {
    // It acknowledges what its handler has handled, unless that is the handler's own business.
    const intake = await limits.consume(consumer, kind === 'manual' ? handleAndAck : handle, pull)
    return () => intake.stop()
  }
  const taken = await consumer.consume({ ...pull, callback: handleAndAck })
  return () => taken.close()
}

const consumer = kind === 'core' ? undefined : await findConsumer()
if (consumer === undefined) {
  const pattern = `${token}.>`
  if (subject === 'topicgate') limits.subscribe(nc, pattern, { callback: handle })
  else nc.subscribe(pattern, { callback: (_error, message) => handle(message) })
}
await nc.flush()

process.on('message', async () => {
  const stop = consumer === undefined ? undefined : await consume(consumer)
  const cpuNs = await finished
  finished = nextSlice()
  await nc.flush()
  await stop?.()
  process.send?.(cpuNs)
})
process.on('disconnect', () => process.exit(bytes > 0 ? 0 : 1))
process.send?.('ready')
