import { fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Aedes } from 'aedes'
import { limitBroker } from '../brokers/aedes/index.ts'
import { exempt, Gate, limit } from '../src/index.ts'
import { type Findings, serveSlices } from './harness.ts'

/**
 * A cell in slices: CPU of a broker per connection that is opened and closed. Arguments: subject (bare, topicgate),
 * connections a slice.
 */
const [subject, connections] = process.argv.slice(2) as [string, string]
const WARM_UP = 10_000

const broker = await Aedes.createBroker()
if (subject === 'topicgate') {
  const gate = new Gate()
  gate.use(
    exempt({ name: 'operators', roles: ['admin'], ips: ['10.0.0.0/8'] }),
    limit({ name: 'connects', on: 'connect', rate: '1000000/s', per: 'ip' }),
    limit({ name: 'by-client', rate: '1000000/s', per: 'client' }),
  )
  limitBroker(broker, gate)
}
const server = createServer({ noDelay: true }, broker.handle)
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const flood = fork(fileURLToPath(new URL('./connect-flood.js', import.meta.url)), [
  String((server.address() as AddressInfo).port),
])
await once(flood, 'message')

async function measure(count: number): Promise<Findings> {
  const startCpu = process.cpuUsage()
  flood.send(count)
  await once(flood, 'message')
  const { user, system } = process.cpuUsage(startCpu)
  return { cpuNs: ((user + system) * 1_000) / count }
}

await measure(WARM_UP)
serveSlices(
  () => measure(Number(connections)),
  () => flood.send('end'),
)
