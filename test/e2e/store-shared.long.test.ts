import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureBuilt, ROOT } from '../support/built.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

const PROCESSES = 4
const BROKERS = 2 * PROCESSES
const RATE = 1_000
const BURST = 100
const FOR_MS = 6_000

let redis: RedisServer
beforeAll(async () => {
  await ensureBuilt()
  redis = await startRedis()
}, 120_000)
afterAll(() => redis.stop())

interface Told {
  readonly asked: number
  readonly allowed: number
  readonly fallbacks: number
  readonly firstMs: number
  readonly lastMs: number
}

/** Starts all nodes, lets them go at the same moment and adds up what they let through. */
async function flood(store: object): Promise<Told> {
  const rules = [{ name: 'all', limit: `${RATE}/s burst ${BURST}`, exceeded: 'drop' }]
  const options = { store, rules, perClient: (4 * RATE) / BROKERS, forMs: FOR_MS, pauseMs: 500 }
  const nodes = Array.from({ length: PROCESSES }, () => {
    const path = `${ROOT}/test/e2e/store-node.js`
    const child = spawn(process.execPath, [path, JSON.stringify(options)], {
      cwd: ROOT,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const patience = setTimeout(() => child.kill('SIGKILL'), 50_000)
    child.once('exit', () => clearTimeout(patience))
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
  })
  for (const { lines } of nodes) expect((await lines.next()).value).toBe('ready')
  for (const { child } of nodes) child.stdin.write('go\n')
  const told = await Promise.all(
    nodes.map(async ({ lines }) => JSON.parse((await lines.next()).value) as Told),
  )
  const sum = (field: 'asked' | 'allowed' | 'fallbacks'): number =>
    told.reduce((all, each) => all + each[field], 0)
  return {
    asked: sum('asked'),
    allowed: sum('allowed'),
    fallbacks: sum('fallbacks'),
    firstMs: Math.min(...told.map(({ firstMs }) => firstMs)),
    lastMs: Math.max(...told.map(({ lastMs }) => lastMs)),
  }
}

/** A decision is heard of a little after it was made, the first as the last. */
const HEARD_MS = 250

describe(`${BROKERS} brokers in ${PROCESSES} processes on one Redis, at four times their limit`, () => {
  it('let pass what the limit says and no more', async () => {
    const told = await flood({ url: redis.url, prefix: 'exact', timeout: '1s' })
    const spanMs = told.lastMs - told.firstMs
    expect(told.fallbacks).toBe(0)
    expect(told.asked).toBeGreaterThan(2 * RATE * (FOR_MS / 1_000))
    expect(told.allowed).toBeLessThanOrEqual(BURST + (RATE * (spanMs + HEARD_MS)) / 1_000)
    expect(told.allowed).toBeGreaterThan(0.8 * RATE * (spanMs / 1_000))
  })

  it('on leases let pass no more than what the nodes may hold on top', async () => {
    const [units, ttlMs] = [20, 1_000]
    const store = { url: redis.url, prefix: 'leased', timeout: '1s', nodes: BROKERS }
    const told = await flood({ ...store, lease: { units, ttl: `${ttlMs}ms` } })
    const spanMs = told.lastMs - told.firstMs
    const held = Math.min(BROKERS * units, BURST + (RATE * ttlMs) / 1_000)
    expect(told.fallbacks).toBe(0)
    expect(told.asked).toBeGreaterThan(2 * RATE * (FOR_MS / 1_000))
    expect(told.allowed).toBeLessThanOrEqual(BURST + (RATE * (spanMs + HEARD_MS)) / 1_000 + held)
    expect(told.allowed).toBeGreaterThan(0.8 * RATE * (spanMs / 1_000))
  })
})
