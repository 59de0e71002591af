import { fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Aedes } from 'aedes'
import { limitBroker } from '../brokers/aedes/index.ts'
import { type Findings, serveSlices } from './harness.ts'
import { makeGate } from './load.ts'

/** A cell in slices: CPU of a broker per message. Arguments: subject (bare, topicgate, drop), QoS, subscribers, messages a slice. */
const [subject, qos, subscribers, messages] = process.argv.slice(2) as [string, string, string, string]
const PUBLISHERS = '10'
const WARM_UP = subscribers === '0' ? 300_000 : 100_000

const broker = await Aedes.createBroker()
if (subject === 'topicgate') limitBroker(broker, makeGate(3, 'allowed'))
// A tenth of what ten publishers manage here; without the pause, which would count what is not even read.
if (subject === 'drop') limitBroker(broker, makeGate(3, '2000/s'), { dropGateMs: 0 })
const server = createServer({ noDelay: true }, broker.handle)
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const port = String((server.address() as AddressInfo).port)

/** Messages aedes has under way; not in its types. */
interface Queued {
  readonly mq: { readonly current: number }
}

const flood = fork(fileURLToPath(new URL('./flood.js', import.meta.url)), [
  port,
  PUBLISHERS,
  subscribers,
  qos,
])
await once(flood, 'message')

/** What so many messages cost. */
async function measure(count: number): Promise<Findings> {
  const startCpu = process.cpuUsage()
  const start = process.hrtime.bigint()
  flood.send(count)
  const [sent] = (await once(flood, 'message')) as [number]
  const spent = process.cpuUsage(startCpu)
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  while ((broker as unknown as Queued).mq.current > 0) await setTimeout(20)
  return { cpuNs: ((spent.user + spent.system) * 1_000) / sent, perSecond: sent / seconds }
}

// A broker runs for months: what V8 spends on compiling during the first second is not a message's cost.
await measure(WARM_UP)
serveSlices(
  () => measure(Number(messages)),
  () => flood.send('end'),
)
