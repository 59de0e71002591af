import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLimit } from '../src/algorithms/index.ts'
import { openSqlite } from '../src/stores/sqlite/index.ts'
import type { Charge } from '../src/stores/store.ts'
import { report } from './harness.ts'

/** One cell: decisions a second, and how long an answer takes. Arguments: driver, rules, clients, in flight, decisions. */
const [driver, rules, clients, inFlight, decisions] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
]
const total = Number(decisions)
const senders = Number(clients)
const BETTER_SQLITE3 = 'node_modules/.cache/topicgate/better-sqlite3/node_modules/better-sqlite3'

/** The driver of that name and no other; better-sqlite3 from where scripts/ensure-servers.sh puts it. */
async function load(name: string): Promise<unknown> {
  if (name !== driver) throw Object.assign(new Error(name), { code: 'ERR_MODULE_NOT_FOUND' })
  if (name === 'libsql') return import(name)
  return { default: createRequire(import.meta.url)(join(process.cwd(), BETTER_SQLITE3)) }
}

/** Per client, per tenant of a thousand clients, global: as a policy has them. */
const limits = ['client', 'tenant', 'global'].map(name =>
  createLimit({ name, algorithm: 'token-bucket', count: 1_000_000, periodMs: 1_000 }),
)
function chargesOf(client: number): Charge[] {
  const keys = [`client-${client}`, `tenant-${client % 1_000}`, '']
  return limits.slice(0, Number(rules)).map((limit, index) => ({ limit, key: keys[index]!, cost: 1 }))
}

const folder = mkdtempSync(join(tmpdir(), 'topicgate-bench-'))
const store = await openSqlite(join(folder, 'limits.db'), { load })
const waitsMs = new Float64Array(total)
let asked = 0
/** A fixed stride through all clients, so that neighbours in time are no neighbours in the file. */
const nextClient = (): number => (asked * 7_919) % senders

async function askInTurn(): Promise<void> {
  while (asked < total) {
    const charges = chargesOf(nextClient())
    const place = asked++
    const startMs = performance.now()
    const verdicts = await store.decide(charges, { commit: true })
    waitsMs[place] = performance.now() - startMs
    if (!verdicts.every(verdict => verdict.allowed)) throw new Error('a limit this large refused')
  }
}

// Every key is known before it is measured.
for (let client = 0; client < senders; client += 100) {
  const some = Array.from({ length: Math.min(100, senders - client) }, (_, index) =>
    chargesOf(client + index),
  )
  await Promise.all(some.map(charges => store.decide(charges, { commit: true })))
}
const startMs = performance.now()
const cpu = process.cpuUsage()
await Promise.all(Array.from({ length: Number(inFlight) }, askInTurn))
const tookMs = performance.now() - startMs
const { user, system } = process.cpuUsage(cpu)
await store.close()
rmSync(folder, { recursive: true })
waitsMs.sort()
report({
  perSecond: (1_000 * total) / tookMs,
  cpuNs: (1_000 * (user + system)) / total,
  p50Ms: waitsMs[Math.floor(total * 0.5)]!,
  p99Ms: waitsMs[Math.floor(total * 0.99)]!,
})
