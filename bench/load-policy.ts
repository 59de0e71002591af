import { readFileSync, writeFileSync } from 'node:fs'
import { createSender, Gate, MemoryStore } from '../src/index.ts'
import { report } from './harness.ts'
import { policyText } from './large-policy.ts'

/**
 * One cell: CPU in total, that of the main thread in the longest turn of the event loop, and peak memory while a policy is
 * loaded (`load`), or applied to a gate with so many connected senders (`reload`). Arguments: work, rules, senders, a file to write.
 */
const [work, rules, senders, file] = process.argv.slice(2) as ['load' | 'reload', string, string, string]

// The code of policies is loaded on first use.
const gate = await Gate.fromPolicy('rules: [{ name: client, per: client, limit: 1000/s }]\n', {
  store: new MemoryStore(),
})
const connected = Array.from({ length: Number(senders) }, (_, index) =>
  createSender({ client: `client-${index}`, ip: '192.0.2.7' }),
)
writeFileSync(file, policyText(Number(rules), 'a'))
if (work === 'reload') await gate.apply(file)
for (const [index, sender] of connected.entries())
  gate.checkSync({ topic: `fleet/site-${index % Number(rules)}/d/telemetry/t`, sender, size: 100 })
writeFileSync(file, policyText(Number(rules), 'b'))

const idle = process.resourceUsage().maxRSS

/** CPU of this process. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** CPU of the main thread. Why: the time that a turn takes depends on what else the machine does. Linux only. */
function mainThreadCpuMs(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
}

let longestMs = 0
let lastMs = mainThreadCpuMs()
let isRunning = true
const watch = (): void => {
  const nowMs = mainThreadCpuMs()
  longestMs = Math.max(longestMs, nowMs - lastMs)
  lastMs = nowMs
  if (isRunning) setImmediate(watch)
}
watch()
const startMs = cpuMs()
await gate.apply(file)
const spentMs = cpuMs() - startMs
await new Promise(resolve => setImmediate(resolve))
isRunning = false
const peak = process.resourceUsage().maxRSS
report({ cpuMs: spentMs, longestMs, grownMb: (peak - idle) / 1_024 })
