import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { mqttGateway } from '../brokers/mqtt-gateway/index.ts'
import { Gate } from '../src/index.ts'
import { type Findings, serveSlices } from './harness.ts'
import { makeGate } from './load.ts'

/** A cell in slices: CPU of a gateway per message. Arguments: subject (pipe, walk, limits, refusing), messages a slice. */
const [subject, messages] = process.argv.slice(2) as [string, string]
const PUBLISHERS = '10'
const WARM_UP = 300_000

const sink = start('./gateway-sink.js')
const [sinkPort] = (await once(sink, 'message')) as [number]

function start(file: string, ...args: readonly string[]): ChildProcess {
  return fork(fileURLToPath(new URL(file, import.meta.url)), [...args])
}

async function dial(): Promise<Socket> {
  const socket = connect({ port: sinkPort, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

function makeHandler(): (socket: Socket) => void {
  if (subject === 'pipe') {
    return socket => {
      const upstream = connect({ port: sinkPort, host: '127.0.0.1', noDelay: true })
      socket.pipe(upstream).pipe(socket)
    }
  }
  const gate = subject === 'walk' ? new Gate() : makeGate(3, subject === 'limits' ? 'allowed' : 'refused')
  const gateway = mqttGateway(gate, { connectUpstream: dial })
  return socket => gateway.handle(socket, { ip: '127.0.0.1', port: socket.remotePort })
}

const server = createServer({ noDelay: true }, makeHandler())
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const flood = start('./flood.js', String((server.address() as AddressInfo).port), PUBLISHERS, '0', '0')
await once(flood, 'message')

/** What so many messages cost. */
async function measure(count: number): Promise<Findings> {
  const startCpu = process.cpuUsage()
  const start = process.hrtime.bigint()
  flood.send(count)
  const [sent] = (await once(flood, 'message')) as [number]
  const spent = process.cpuUsage(startCpu)
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  return { cpuNs: ((spent.user + spent.system) * 1_000) / sent, perSecond: sent / seconds }
}

await measure(WARM_UP)
serveSlices(
  () => measure(Number(messages)),
  () => {
    flood.send('end')
    sink.send('end')
  },
)
