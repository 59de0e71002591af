import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Findings, serveSlices } from './harness.ts'
import { readCpuNs } from './process-figures.ts'

/**
 * A cell in slices: CPU of all processes of the command `gateway` per message. Arguments: workers, messages a slice. Clients
 * share one limit, and have one each; all messages pass.
 */
const [workers, messages] = process.argv.slice(2) as [string, string]
const PUBLISHERS = '10'
const WARM_UP = 3_000_000
const POLICY = `rules:
  - { name: all, per: global, limit: 50000000/s }
  - { name: each, per: client, limit: 10000000/s }
`

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

async function measure(count: number): Promise<Findings> {
  const startNs = readCpuNs(pids)
  const start = process.hrtime.bigint()
  flood.send(count)
  const [sent] = (await once(flood, 'message')) as [number]
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  return { cpuNs: (readCpuNs(pids) - startNs) / sent, perSecond: sent / seconds }
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
