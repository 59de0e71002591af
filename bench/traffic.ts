import { Redis } from 'ioredis'
import type { Decision, Gate, GateOptions, Message } from '../src/index.ts'
import { RedisStore } from '../src/stores/redis/index.ts'
import { startRedis } from '../test/support/redis.ts'
import { median, report } from './harness.ts'
import { type Allowance, type Ask, LIMITERS, openIncrement } from './limiters.ts'
import { TrafficLoad } from './traffic-load.ts'
import { FEW_UNITS, StepClock, WORKS } from './traffic-work.ts'

/**
 * One cell: CPU of a decision, and the refused share. Messages are created in batches before the clock starts, and each is
 * used once. Arguments: limiter, kind of traffic, store.
 */
const [limiter, kind, place] = process.argv.slice(2) as [string, string, 'memory' | 'redis']
const work = WORKS[kind]!
const PASSES = place === 'memory' ? 9 : 5
/** A pass ends after so many messages or so much CPU. Why a number: windows of the peers must not fill up. */
const MOST_MESSAGES = place === 'memory' ? 100_000 : 10_000
const MOST_NS = 150e6
/** Messages that are created at once. Few enough for the cache of the CPU. */
const BATCH = place === 'memory' ? 1_000 : 2_000
const IN_FLIGHT = 64

const server = place === 'redis' ? await startRedis() : undefined
const redis = server === undefined ? undefined : new Redis(server.url)
await redis?.ping()

const allowance: Allowance =
  work.flood === undefined ? { units: 2 ** 30, windowMs: 60_000 } : { units: FEW_UNITS, windowMs: 1e9 }
const isSync = place === 'memory' && LIMITERS[limiter]?.isAsync !== true
let gate: Gate | undefined
const ask = await openAsk()
const load = new TrafficLoad(work.traffic)

await runAll(load.everyTopic())
for (let round = 0; round < (work.flood ?? 0); round++)
  await runAll(load.overLimit > 0 ? load.everySenderOverLimit() : load.everyTopic())
await measurePass()
const passes: Pass[] = []
for (let pass = 0; pass < PASSES; pass++) passes.push(await measurePass())
await gate?.close()
redis?.disconnect()
await server?.stop('SIGKILL')
report({
  ns: median(passes.map(({ ns }) => ns)),
  refused: median(passes.map(({ refused }) => refused)),
  perSecond: median(passes.map(({ perSecond }) => perSecond)),
})

async function openAsk(): Promise<Ask> {
  if (limiter === 'increment') return openIncrement(allowance, redis!)
  if (limiter !== 'topicgate') return LIMITERS[limiter]!.open(allowance, redis)
  const { stepMs } = work
  const options: GateOptions = {
    load: 'none',
    clock: stepMs === undefined ? undefined : new StepClock(stepMs),
    store: redis && new RedisStore({ client: redis, timeoutMs: 10_000, clock: 'caller' }),
  }
  const opened = await work.openGate(options)
  gate = opened
  if (redis === undefined) return message => (opened.check(message) as Decision).allowed
  return async message => (await opened.check(message)).allowed
}

async function runAll(messages: readonly Message[]): Promise<void> {
  for (let first = 0; first < messages.length; first += BATCH)
    await runBatch(messages.slice(first, first + BATCH))
}

interface Pass {
  /** CPU of a decision. */
  readonly ns: number
  /** Refused share. */
  readonly refused: number
  readonly perSecond: number
}

async function measurePass(): Promise<Pass> {
  let cpuNs = 0
  let spentMs = 0
  let count = 0
  let refused = 0
  while (count < MOST_MESSAGES && cpuNs < MOST_NS) {
    const batch = load.next(BATCH)
    const startMs = performance.now()
    const start = process.cpuUsage()
    refused += isSync ? runSync(batch) : await runBatch(batch)
    const { user, system } = process.cpuUsage(start)
    spentMs += performance.now() - startMs
    cpuNs += (user + system) * 1_000
    count += BATCH
  }
  return { ns: cpuNs / count, refused: refused / count, perSecond: (count / spentMs) * 1_000 }
}

/** Decides all messages. Returns the number of refused ones. */
async function runBatch(batch: readonly Message[]): Promise<number> {
  let next = 0
  let refused = 0
  const runInTurn = async (): Promise<void> => {
    while (next < batch.length) if (!(await ask(batch[next++]!))) refused++
  }
  await Promise.all(Array.from({ length: place === 'redis' ? IN_FLIGHT : 1 }, runInTurn))
  return refused
}

function runSync(batch: readonly Message[]): number {
  let refused = 0
  for (let index = 0; index < batch.length; index++) if (!ask(batch[index]!)) refused++
  return refused
}
