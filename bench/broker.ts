import { fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Aedes } from 'aedes'
import { limitBroker } from '../brokers/aedes/index.ts'
import type { Clock } from '../src/core/clock.ts'
import { type Findings, serveSlices } from './harness.ts'
import { makeGate } from './load.ts'

/** A cell in slices: CPU of a broker per message. Arguments: subject (bare, topicgate, drop), QoS, subscribers, messages a slice. */
const [subject, qos, subscribers, messages] = process.argv.slice(2) as [string, string, string, string]
const PUBLISHERS = '10'
/** Payload, topic and header of a PUBLISH, about. */
const BYTES_PER_MESSAGE = 150
const WARM_UP = subscribers === '0' ? 300_000 : 100_000

const broker = await Aedes.createBroker()
if (subject === 'topicgate') limitBroker(broker, makeGate(3, 'allowed'))
const sockets: Socket[] = []
// One message in twenty passes; without the pause, which would count what is not even read.
if (subject === 'drop') limitBroker(broker, makeGate(3, '2000/s', clockOfTraffic(40_000)), { dropGateMs: 0 })
const server = createServer({ noDelay: true }, broker.handle)
server.on('connection', socket => sockets.push(socket))
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const port = String((server.address() as AddressInfo).port)

/**
 * Returns a clock that advances with the bytes received, as if each publisher sent `perSecond` messages a second.
 * By the system's clock more messages would pass on a busier machine, and each costs far more than one dropped.
 */
function clockOfTraffic(perSecond: number): Clock {
  const bytesPerMs = (BYTES_PER_MESSAGE * perSecond * Number(PUBLISHERS)) / 1_000
  const startMs = Date.now()
  let nowMs = startMs
  let reads = 0
  return {
    now() {
      if (reads++ % 16 === 0) {
        let bytes = 0
        for (const socket of sockets) bytes += socket.bytesRead
        nowMs = startMs + Math.floor(bytes / bytesPerMs)
      }
      return nowMs
    },
    after(ms, run) {
      const timer = setTimeout(run, ms).unref()
      return () => clearTimeout(timer)
    },
  }
}

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
  while ((broker as unknown as Queued).mq.current > 0) await wait(20)
  return { cpuNs: ((spent.user + spent.system) * 1_000) / sent, perSecond: sent / seconds }
}

// A broker runs for months: what V8 spends on compiling during the first second is not a message's cost.
await measure(WARM_UP)
serveSlices(
  () => measure(Number(messages)),
  () => flood.send('end'),
)
