import { alternate, type Findings, nanoseconds, runCell, section, table, times } from './harness.ts'
import { LIMITERS } from './limiters.ts'
import { POLICY_FILES, WORKS } from './traffic-work.ts'

const SHARED = ['even', 'zipf', 'exceeded'] as const

const run =
  (limiter: string, work: string, store = 'memory') =>
  (): Promise<Findings> =>
    runCell('traffic', [limiter, work, store])

/** Measures decisions on the messages and policies that users have, beside other limiters. */
export async function traffic(rounds: number): Promise<string> {
  const text =
    'CPU of a decision on messages as the aedes adapter creates them: 10,000 connected senders in random order, 100 bytes of JSON. The floor is a token bucket per client in a Map, written by hand, on the same messages in the same run: `×` is the ratio to it. It knows one limit and one key. It routes no topics, has no exemptions, names no reason and never forgets a key. Messages are created before the measurement.'
  const parts = [
    table(['work', 'Map bucket', 'topicgate', '×', 'refused'], await workRows(rounds)),
    'Several limiters, one limit per client, on the messages of three lines above. Every other limiter gets its key ready-made. None of them routes topics, checks several limits as one step, has exemptions, charges by size or names an outcome. The stores of express, fastify, hono and Nest count fixed windows (Nest keeps the time of each message of the window, so its cost grows with them) and count refused messages, too. The RateLimiter of limiter is one object per key; the Map of keys is written by hand and never cleaned up. The store of fastify has room for all senders; by default it has room for half of them.',
    table(
      ['limiter', ...SHARED.flatMap(work => [WORKS[work]!.title.toLowerCase(), '×'])],
      await limiterRows(rounds),
    ),
    'On Redis, 64 messages in flight: CPU of the process that decides, and decisions per second. The floor is one INCR per message, without expiry. A policy is one script call per message, whatever the number of its rules.',
    table(['work', 'decisions/s', 'CPU', '× INCR', 'refused'], await redisRows(rounds)),
  ]
  return section('Real traffic', text, parts.join('\n\n'))
}

async function workRows(rounds: number): Promise<string[][]> {
  const rows: string[][] = []
  for (const [name, { title }] of Object.entries(WORKS)) {
    const { map, topicgate } = await alternate(rounds, {
      map: run('map', name),
      topicgate: run('topicgate', name),
    })
    rows.push([
      title,
      nanoseconds(map!.ns!),
      nanoseconds(topicgate!.ns!),
      times(topicgate!.ns! / map!.ns!),
      percent(topicgate!.refused!),
    ])
  }
  return rows
}

async function limiterRows(rounds: number): Promise<string[][]> {
  const titles = Object.entries(LIMITERS).map(([name, { title }]) => [name, title] as const)
  const limiters = [...titles.slice(0, 1), ['topicgate', 'topicgate'] as const, ...titles.slice(1)]
  const found = new Map<string, Readonly<Record<string, Findings>>>()
  for (const work of SHARED) {
    const cells = limiters.map(([name]) => [name, run(name, work)] as const)
    found.set(work, await alternate(rounds, Object.fromEntries(cells)))
  }
  return limiters.map(([name, title]) => [
    title,
    ...SHARED.flatMap(work => {
      const all = found.get(work)!
      return [nanoseconds(all[name]!.ns!), times(all[name]!.ns! / all.map!.ns!)]
    }),
  ])
}

async function redisRows(rounds: number): Promise<string[][]> {
  const works = ['even', 'topics4', ...POLICY_FILES]
  const found = await alternate(rounds, {
    increment: run('increment', 'even', 'redis'),
    flexible: run('flexible', 'even', 'redis'),
    ...Object.fromEntries(works.map(work => [work, run('topicgate', work, 'redis')])),
  })
  const titleOf = (name: string): string => {
    if (name === 'increment') return 'INCR, by hand'
    if (name === 'flexible') return 'rate-limiter-flexible, RateLimiterRedis'
    return `topicgate: ${WORKS[name]!.title}`
  }
  return Object.entries(found).map(([name, { ns, perSecond, refused }]) => [
    titleOf(name),
    Math.round(perSecond!).toLocaleString('en'),
    nanoseconds(ns!),
    times(ns! / found.increment!.ns!),
    percent(refused!),
  ])
}

function percent(share: number): string {
  return share === 0 ? '0 %' : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`
}
