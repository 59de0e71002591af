import { Redis } from 'ioredis'
import { beforeAll, expect, it } from 'vitest'
import { createLimit, type LimitSpec } from '../../src/algorithms/create-limit.ts'
import { leaseTermsOf, parseLeaseOptions } from '../../src/stores/leased/lease-terms.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { joinAdmitted, mostBeyondRate, readAdmitted } from '../support/admitted.ts'
import { ensureBuilt } from '../support/built.ts'
import { startNode } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'

const NODES = 8
const KILLED = 2
const RATE: LimitSpec = {
  name: 'rate',
  algorithm: 'token-bucket',
  count: 8_000,
  periodMs: 1_000,
  burst: 4_000,
}
/** Never refills while the test runs: what is left of it tells what became of every unit. */
const BUDGET: LimitSpec = {
  ...{ name: 'budget', algorithm: 'fixed-window', count: 1_000_000, periodMs: 400 * 86_400_000 },
}
const FOR_MS = 5_000

beforeAll(ensureBuilt, 120_000)

it('eight processes on one Redis, two of them killed, stay within the bound over every span of time', async () => {
  await using redis = await startRedis()
  // Those that will be killed run until then, however late the others begin.
  const argsOf = (index: number): object => ({
    url: redis.url,
    forMs: index < KILLED ? 10 * FOR_MS : FOR_MS,
    nodes: NODES,
    limits: [RATE, BUDGET],
    messages: 40,
    everyMs: 10,
  })
  const nodes = Array.from({ length: NODES }, (_, index) =>
    startNode(['test/e2e/leased-node.js', JSON.stringify(argsOf(index))]),
  )
  await Promise.all(nodes.map(node => node.line(/^ready$/)))
  await new Promise(resolve => setTimeout(resolve, FOR_MS / 2))
  for (const node of nodes.slice(0, KILLED)) node.signal('SIGKILL')
  const ended = await Promise.all(nodes.map(node => node.ended))
  expect(ended.map(({ signal }) => signal)).toEqual(nodes.map((_, at) => (at < KILLED ? 'SIGKILL' : null)))
  expect(ended.slice(KILLED).map(({ code, stderr }) => [code, stderr])).toEqual(
    Array.from({ length: NODES - KILLED }, () => [0, '']),
  )
  for (const { stdout } of ended.slice(KILLED)) expect(stdout).toMatch(/^closed$/m)

  const { admitted, total, spanMs } = joinAdmitted(ended.map(({ stdout }) => readAdmitted(stdout)))
  const perMs = RATE.count / RATE.periodMs
  const burst = RATE.burst!
  const mostOf = (spec: LimitSpec): number =>
    leaseTermsOf(createLimit(spec), parseLeaseOptions({ nodes: NODES }))!.maxGrains
  // A process tells of a unit some milliseconds after it took it: all its messages, and the wait for the store.
  const beyond = mostBeyondRate(admitted, perMs)
  console.log(`${total} units in ${spanMs} ms; at most ${Math.round(beyond)} beyond the rate, burst ${burst}`)
  expect(beyond).toBeLessThanOrEqual(burst + NODES * mostOf(RATE))
  expect(total).toBeLessThanOrEqual(burst + perMs * (spanMs + 100))
  // Leases do not starve a limit that is asked for three times over.
  expect(total).toBeGreaterThan(burst + 0.8 * perMs * spanMs)

  // Every unit taken was admitted, given back, or lost with one of the killed.
  const client = new Redis(redis.url)
  await client.ping()
  const store = new RedisStore({ client, timeoutMs: 20_000 })
  const charge = { limit: createLimit(BUDGET), key: 'all', cost: 0 }
  const [left] = await store.decide([charge], { commit: false })
  const lost = BUDGET.count - left!.remaining - total
  console.log(`${lost} units were lost with ${KILLED} processes`)
  expect(lost).toBeGreaterThanOrEqual(0)
  expect(lost).toBeLessThanOrEqual(KILLED * mostOf(BUDGET))
  await store.close()
  client.disconnect()
})
