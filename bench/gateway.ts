import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type GatewayProtocol, type GatewaySubject, serveSubject } from './gateway-subjects.ts'
import { type Findings, serveSlices } from './harness.ts'

/**
 * A cell in slices: CPU of a proxy or gateway per message. Arguments: protocol, subject, shape, messages a slice. `bulk` is ten
 * publishers at full speed, `fleet` 200 that send one message of QoS 1 and wait for its acknowledgement.
 */
const [protocol, subject, shape, messages] = process.argv.slice(2) as [
  GatewayProtocol,
  GatewaySubject,
  'bulk' | 'fleet',
  string,
]
const WARM_UP = { bulk: 300_000, fleet: 4_000 }

const sink = start(protocol === 'mqtt' ? './gateway-sink.js' : './nats-gateway-sink.js')
const [sinkPort] = (await once(sink, 'message')) as [number]

function start(file: string, ...args: readonly (string | number)[]): ChildProcess {
  return fork(fileURLToPath(new URL(file, import.meta.url)), args.map(String))
}

function startFlood(port: number): ChildProcess {
  if (protocol === 'nats') return start('./nats-gateway-flood.js', port, 10)
  return shape === 'bulk' ? start('./flood.js', port, 10, 0, 0) : start('./flood.js', port, 200, 0, 1, 1)
}

const served = await serveSubject(protocol, subject, sinkPort)
const flood = startFlood(served.port)
await once(flood, 'message')

async function measure(count: number): Promise<Findings> {
  const startNs = served.readCpuNs()
  const start = process.hrtime.bigint()
  flood.send(count)
  const [sent] = (await once(flood, 'message')) as [number]
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  return { cpuNs: (served.readCpuNs() - startNs) / sent, perSecond: sent / seconds }
}

await measure(WARM_UP[shape])
serveSlices(
  () => measure(Number(messages)),
  () => {
    flood.send('end')
    sink.send('end')
    served.close()
  },
)
