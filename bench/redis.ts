import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { RateLimiterRedis, RateLimiterUnion } from 'rate-limiter-flexible'
import { createLimit } from '../src/algorithms/index.ts'
import { RedisStore } from '../src/stores/redis/index.ts'
import { report } from './harness.ts'

/** One cell: messages of three limits a second, and their CPU. Arguments: subject, in flight, messages. */
const [subject, inFlight, messages] = process.argv.slice(2) as [string, string, string]
const CLIENTS = 10_000
const LARGE = 1_000_000_000
const RULES = ['minute', 'hour', 'day']
const total = Number(messages)

const folder = mkdtempSync(join(tmpdir(), 'topicgate-bench-'))
const port = await freePort()
const server = startRedis(port)
const redis = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 50 })
redis.on('error', () => {})
await redis.ping()

const decide = subject === 'topicgate' ? openTopicgate() : openFlexible()
let asked = 0
await run(Math.min(total, 2 * CLIENTS))
asked = 0
const waitsMs = new Float64Array(total)
const cpuBefore = await redisCpuUs()
const ownBefore = process.cpuUsage()
const startMs = performance.now()
await run(total, waitsMs)
const ms = performance.now() - startMs
const own = process.cpuUsage(ownBefore)
const cpuAfter = await redisCpuUs()
waitsMs.sort()
server.kill('SIGKILL')
rmSync(folder, { recursive: true, force: true })
report({
  perSecond: (total / ms) * 1_000,
  redisUs: (cpuAfter - cpuBefore) / total,
  ownUs: (own.user + own.system) / total,
  p50Ms: waitsMs[Math.floor(total * 0.5)]!,
  p99Ms: waitsMs[Math.floor(total * 0.99)]!,
})

function openTopicgate(): (client: string) => Promise<void> {
  const store = new RedisStore({ client: redis, timeoutMs: 10_000 })
  const limits = RULES.map(name =>
    createLimit({ name, algorithm: 'token-bucket', count: LARGE, periodMs: 60_000 }),
  )
  return async client => {
    const charges = limits.map(limit => ({ limit, key: client, cost: 1 }))
    const verdicts = await store.decide(charges, { commit: true })
    if (!verdicts.every(verdict => verdict.allowed)) throw new Error('a limit this large refused')
  }
}

function openFlexible(): (client: string) => Promise<void> {
  const limiters = RULES.map(
    keyPrefix => new RateLimiterRedis({ storeClient: redis, keyPrefix, points: LARGE, duration: 60 }),
  )
  const union = new RateLimiterUnion(...limiters)
  return async client => {
    await union.consume(client)
  }
}

/** Asks for so many messages, always as many in flight as the cell says. */
async function run(count: number, waits?: Float64Array): Promise<void> {
  const askInTurn = async (): Promise<void> => {
    while (asked < count) {
      const place = asked++
      const startMs = performance.now()
      await decide(`client-${(place * 7_919) % CLIENTS}`)
      if (waits) waits[place] = performance.now() - startMs
    }
  }
  await Promise.all(Array.from({ length: Number(inFlight) }, askInTurn))
}

async function redisCpuUs(): Promise<number> {
  const info = await redis.info('cpu')
  const seconds = (name: string): number => Number(info.match(new RegExp(`${name}:([\\d.]+)`))?.[1])
  return (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6
}

function startRedis(port: number): ChildProcess {
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    folder,
  ]
  const child = spawn(process.env.TOPICGATE_REDIS_SERVER ?? 'redis-server', args, { stdio: 'ignore' })
  process.once('exit', () => child.kill('SIGKILL'))
  return child
}

function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0))
    })
  })
}
