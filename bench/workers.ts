import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Findings, serveSlices } from './harness.ts'

/**
 * A cell in slices: CPU of all processes of the command `gateway` per message. Arguments: workers, messages a slice. Clients
 * share one limit, and have one each; all messages pass.
 */
const [workers, messages] = process.argv.slice(2) as [string, string]
const PUBLISHERS = '10'
const WARM_UP = 300_000
const POLICY = `rules:
  - { name: all, per: global, limit: 50000000/s }
  - { name: each, per: client, limit: 10000000/s }
`
/** Linux counts CPU time in hundredths of a second. */
const TICK_NS = 1e7

const folder = mkdtempSync(join(tmpdir(), 'topicgate-bench-'))
const policy = join(folder, 'policy.yaml')
writeFileSync(policy, POLICY)
const sink = fork(fileURLToPath(new URL('./gateway-sink.js', import.meta.url)))
const [sinkPort] = (await once(sink, 'message')) as [number]
const command = spawn(process.execPath, [
  fileURLToPath(new URL('../src/cli/main.js', import.meta.url)),
  ...['gateway', policy, '--upstream', `mqtt://127.0.0.1:${sinkPort}`, '--port', '0', '--workers', workers],
])
const pids = [command.pid!]
const port = await new Promise<number>(resolve => {
  createInterface({ input: command.stdout }).on('line', text => {
    const { pid, port: bound, msg } = JSON.parse(text) as Readonly<Record<string, unknown>>
    if (typeof pid === 'number') pids.push(pid)
    if (typeof bound === 'number' && String(msg).startsWith('ready')) resolve(bound)
  })
})
const flood = fork(fileURLToPath(new URL('./flood.js', import.meta.url)), [
  String(port),
  PUBLISHERS,
  '0',
  '0',
])
await once(flood, 'message')

/** User and system time of all processes in nanoseconds. */
function readCpuNs(): number {
  const ticks = pids.map(pid => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return Number(fields[11]) + Number(fields[12])
  })
  return ticks.reduce((sum, each) => sum + each, 0) * TICK_NS
}

async function measure(count: number): Promise<Findings> {
  const startNs = readCpuNs()
  const start = process.hrtime.bigint()
  flood.send(count)
  const [sent] = (await once(flood, 'message')) as [number]
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  return { cpuNs: (readCpuNs() - startNs) / sent, perSecond: sent / seconds }
}

await measure(WARM_UP)
serveSlices(
  () => measure(Number(messages)),
  () => {
    flood.send('end')
    sink.send('end')
    command.kill()
    rmSync(folder, { recursive: true })
  },
)
