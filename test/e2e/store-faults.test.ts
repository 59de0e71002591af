import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Decision, Gate, openStore, type Store } from '../../src/index.ts'
import { FALLBACKS, type Fallback } from '../../src/stores/store.ts'
import { type Fault, FaultProxy } from '../support/fault-proxy.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { until } from '../support/wait.ts'

const TIMEOUT_MS = 250
/** A machine that is busy runs its timers late. */
const SLACK_MS = 20_000
const ASKED = 20
/** Of 20 messages of one client at 10 a day. */
const ADMITTED: Readonly<Record<Fallback, number>> = { memory: 10, degraded: 5, allow: 20, deny: 0 }

let redis: RedisServer
let names = 0
beforeAll(async () => {
  // A replica does not wait for others before it copies.
  redis = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] })
})
afterAll(() => redis.stop())

interface Node {
  readonly gate: Gate
  readonly store: Store
  readonly prefix: string
}

async function openNode(port: number, fallback: Fallback, prefix = `faults-${names++}`): Promise<Node> {
  const breaker = { threshold: 5, recoveryMs: 300, healthEveryMs: 150 }
  const url = `redis://127.0.0.1:${port}`
  const store = await openStore({ url, prefix, fallback, timeoutMs: TIMEOUT_MS, breaker })
  const rules = [{ name: 'daily', per: 'client', limit: '10/day', algorithm: 'fixed-window' }]
  return { gate: await Gate.fromPolicy({ rules }, { store }), store, prefix }
}

interface Timed extends Decision {
  readonly waitedMs: number
}

async function ask({ gate }: Node, client = 'c'): Promise<Timed> {
  const startMs = performance.now()
  const decision = await gate.check({ topic: 'a', on: 'publish', sender: { client }, size: 1 })
  return { ...decision, waitedMs: performance.now() - startMs }
}

function askMany(node: Node, times: number, client?: string): Promise<Timed[]> {
  return Promise.all(Array.from({ length: times }, () => ask(node, client)))
}

/** What is left of a client's ten by what the server itself holds. */
async function left(node: Node, client = 'c'): Promise<number> {
  const direct = await openNode(redis.port, 'deny', node.prefix)
  const [decision] = await direct.gate.peek({ topic: 'a', on: 'publish', sender: { client }, size: 1 })
  await direct.store.close()
  expect(decision!.fallback).toBeUndefined()
  // What it says counts the message it was asked about as taken.
  return decision!.allowed ? decision!.remaining! + 1 : 0
}

const FAULTS: readonly (readonly [name: string, fault: Fault])[] = [
  ['a black hole', 'black-hole'],
  ['a way of 200 ms each', { latencyMs: 200 }],
  ['a server that resets', 'reset'],
  ['a full server', { answer: "-OOM command not allowed when used memory > 'maxmemory'.\r\n" }],
  ['a replica', { answer: "-READONLY You can't write against a read only replica.\r\n" }],
  ['a server that loads', { answer: '-LOADING Redis is loading the dataset in memory\r\n' }],
]

describe.each(FAULTS)('%s', (_name, fault) => {
  it('has each fallback decide, in time, and leaves no count behind', async () => {
    await using proxy = await FaultProxy.start(redis.port)
    const nodes = await Promise.all(
      FALLBACKS.map(async fallback => ({ fallback, node: await openNode(proxy.port, fallback) })),
    )
    for (const { node } of nodes) {
      expect(await askMany(node, 3, 'before')).toMatchObject([
        { remaining: 9 },
        { remaining: 8 },
        { remaining: 7 },
      ])
    }
    proxy.fault = fault
    for (const { fallback, node } of nodes) {
      const decisions = await askMany(node, ASKED)
      expect(
        decisions.filter(({ allowed }) => allowed),
        fallback,
      ).toHaveLength(ADMITTED[fallback])
      for (const { fallback: told, waitedMs, reason } of decisions) {
        expect(told).toBe(true)
        expect(waitedMs).toBeLessThan(TIMEOUT_MS + SLACK_MS)
        expect(reason).not.toBe(fallback === 'allow' || fallback === 'deny' ? 'ok' : 'store_unavailable')
      }
      expect((await node.store.health()).state).not.toBe('closed')
    }
    proxy.fault = 'none'
    for (const { node } of nodes) {
      const client = 'after'
      await until(async () => (await ask(node, client)).fallback === undefined, {
        what: 'the store to decide',
      })
      expect((await node.store.health()).state).toBe('closed')
      await until(async () => (await left(node)) === 10, {
        what: 'nothing to be charged of what it did not decide',
      })
      expect(await left(node, 'before')).toBe(7)
      await until(async () => (await left(node, client)) === 9, { what: 'the tries to be given back' })
      await node.store.close()
    }
  })
})

describe('a server that is only slow', () => {
  it('decides, as long as it does so in time', async () => {
    await using proxy = await FaultProxy.start(redis.port)
    const node = await openNode(proxy.port, 'allow')
    proxy.fault = { latencyMs: 40 }
    const decisions = await askMany(node, ASKED)
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(10)
    expect(decisions.every(({ fallback }) => fallback === undefined)).toBe(true)
    await node.store.close()
  })
})

describe('a real server', () => {
  it('that has forgotten its scripts goes on deciding', async () => {
    const node = await openNode(redis.port, 'deny')
    const admin = new Redis(redis.port)
    for (let remaining = 9; remaining >= 0; remaining--) {
      expect(await ask(node)).toMatchObject({ allowed: true, remaining })
      await admin.script('FLUSH')
    }
    expect(await ask(node)).toMatchObject({ allowed: false, reason: 'rate_limit_exceeded' })
    await Promise.all([admin.quit(), node.store.close()])
  })

  it('without memory for one more key has the fallback decide', async () => {
    await using full = await startRedis({ args: ['--maxmemory', '4mb', '--maxmemory-policy', 'noeviction'] })
    const node = await openNode(full.port, 'memory')
    const admin = new Redis(full.port)
    await expect(
      (async () => {
        for (let at = 0; ; at++) await admin.set(`fill-${at}`, 'x'.repeat(10_000))
      })(),
    ).rejects.toThrow('OOM')
    const decisions = await askMany(node, ASKED)
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(10)
    expect(decisions.every(({ fallback }) => fallback === true)).toBe(true)
    await admin.flushall()
    await until(async () => (await ask(node, 'after')).fallback === undefined)
    await Promise.all([admin.quit(), node.store.close()])
  })

  it('that is a replica has the fallback decide', async () => {
    await using replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(redis.port)] })
    const admin = new Redis(replica.port)
    await until(async () => (await admin.info('replication')).includes('master_link_status:up'))
    const node = await openNode(replica.port, 'degraded')
    const decisions = await askMany(node, ASKED)
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(5)
    expect(decisions.every(({ fallback }) => fallback === true)).toBe(true)
    await admin.replicaof('NO', 'ONE')
    await until(async () => (await ask(node, 'after')).fallback === undefined)
    await Promise.all([admin.quit(), node.store.close()])
  })

  it('that dies and comes back is decided by again, and one that was never there is waited for', async () => {
    const first = await startRedis()
    const { port } = first
    const node = await openNode(port, 'memory')
    expect((await ask(node)).fallback).toBeUndefined()
    await first.stop('SIGKILL')
    expect(await askMany(node, ASKED)).toHaveLength(ASKED)
    const late = await openNode(port, 'deny')
    expect(await ask(late)).toMatchObject({ allowed: false, fallback: true })
    await using _second = await startRedis({ port })
    for (const each of [node, late]) {
      await until(async () => (await ask(each, 'after')).fallback === undefined, { timeoutMs: 60_000 })
      await each.store.close()
    }
  })
})
