import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { mqttGateway } from '../brokers/mqtt-gateway/index.ts'
import { natsGateway } from '../brokers/nats-gateway/index.ts'
import { Gate, limit } from '../src/index.ts'
import { type Findings, serveSlices } from './harness.ts'
import { makeGate, RATES } from './load.ts'

/**
 * A cell in slices: CPU of a gateway per message. Arguments: protocol, subject (pipe, walk, one, limits, refusing), messages
 * a slice.
 */
const [protocol, subject, messages] = process.argv.slice(2) as ['mqtt' | 'nats', string, string]
const PUBLISHERS = '10'
const WARM_UP = 300_000

const sink = start(protocol === 'mqtt' ? './gateway-sink.js' : './nats-gateway-sink.js')
const [sinkPort] = (await once(sink, 'message')) as [number]

function start(file: string, ...args: readonly string[]): ChildProcess {
  return fork(fileURLToPath(new URL(file, import.meta.url)), [...args])
}

function startFlood(port: number): ChildProcess {
  return protocol === 'mqtt'
    ? start('./flood.js', String(port), PUBLISHERS, '0', '0')
    : start('./nats-gateway-flood.js', String(port), PUBLISHERS)
}

async function dial(): Promise<Socket> {
  const socket = connect({ port: sinkPort, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

/** A gate with as many rules on one subject pattern, with a rate so that all or none pass. */
function makeNatsGate(rules: 1 | 3, outcome: keyof typeof RATES): Gate {
  const rate = RATES[outcome]
  const all = [
    limit({ name: 'by-client', rate, per: 'client', exceeded: 'drop' }),
    limit({ name: 'by-user', rate, per: 'user', exceeded: 'drop' }),
    limit({ name: 'by-client-and-topic', rate, per: ['client', 'topic'], exceeded: 'drop' }),
  ]
  return new Gate({ dialect: 'nats' }).use('fleet.{site}.{device}.telemetry.>', ...all.slice(0, rules))
}

function createGate(): Gate {
  if (subject === 'walk') return new Gate({ dialect: protocol })
  const rules = subject === 'one' ? 1 : 3
  const outcome = subject === 'refusing' ? 'refused' : 'allowed'
  return protocol === 'mqtt' ? makeGate(rules, outcome) : makeNatsGate(rules, outcome)
}

function makeHandler(): (socket: Socket) => void {
  if (subject === 'pipe') {
    return socket => {
      const upstream = connect({ port: sinkPort, host: '127.0.0.1', noDelay: true })
      socket.pipe(upstream).pipe(socket)
    }
  }
  const createGateway = protocol === 'mqtt' ? mqttGateway : natsGateway
  const gateway = createGateway(createGate(), { connectUpstream: dial })
  return socket => gateway.handle(socket, { ip: '127.0.0.1', port: socket.remotePort })
}

const server = createServer({ noDelay: true }, makeHandler())
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const flood = startFlood((server.address() as AddressInfo).port)
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
