import { alternate, type Findings, nanoseconds, runCell, section, table, times } from './harness.ts'
import { LIMITERS } from './limiters.ts'
import { POLICY_FILES, WORKS } from './traffic-work.ts'

/** Traffic on which the limiters are compared, with the heads of their columns. */
const SHARED = { even: 'evenly', zipf: 'by Zipf’s law', exceeded: '5 % refused' } as const

const run =
  (limiter: string, work: string, store = 'memory') =>
  (): Promise<Findings> =>
    runCell('traffic', [limiter, work, store])

/** Measures decisions on the messages and policies that users have, beside other limiters. */
export async function traffic(rounds: number): Promise<string> {
  const text =
    'CPU of a decision on messages as the aedes adapter creates them: 10,000 connected senders in random order, 100 bytes of JSON. The floor is a token bucket per client in a Map, written by hand, on the same messages in the same run: `×` is the ratio to it. It knows one limit and one key. It routes no topics, has no exemptions, names no reason and never forgets a key. Messages are created before the measurement. One plain rule is the second line. In `no limit reached` the clock runs fast enough for all messages to pass; in `flooded`, 1,000 senders send a million messages a second.'
  const parts = [
    table(['work', 'Map bucket', 'topicgate', '×', 'of one plain rule', 'refused'], await workRows(rounds)),
    'Several limiters, one limit per client, on the messages of three lines above. The others get their keys ready-made. None of them routes topics, has exemptions, names a rule or an outcome, or charges several limits in one step. rate-limiter-flexible and the stores of express, fastify and hono count fixed windows; these three stores count refused messages as well. The storage of Nest copies the times of all messages of a key for each message, so its cost grows with the messages of a window. limiter limits one key; the Map of keys is written by hand and never cleaned up. The store of fastify has room for all senders here, by default for half of them.',
    table(['limiter', ...Object.values(SHARED).flatMap(head => [head, '×'])], await limiterRows(rounds)),
    'On Redis, 64 messages in flight: CPU of the process that decides, and decisions per second. The floor is one INCR per message, without expiry. All limits of a policy are one script call per message.',
    table(['work', 'decisions/s', 'CPU', '× INCR', 'refused'], await redisRows(rounds)),
  ]
  return section('Real traffic', text, parts.join('\n\n'))
}

async function workRows(rounds: number): Promise<string[][]> {
  const found = new Map<string, Readonly<Record<string, Findings>>>()
  for (const name of Object.keys(WORKS))
    found.set(name, await alternate(rounds, { map: run('map', name), topicgate: run('topicgate', name) }))
  const plainNs = found.get('even')!.topicgate!.ns!
  return [...found].map(([name, { map, topicgate }]) => [
    WORKS[name]!.title,
    nanoseconds(map!.ns!),
    nanoseconds(topicgate!.ns!),
    times(topicgate!.ns! / map!.ns!),
    times(topicgate!.ns! / plainNs),
    percent(topicgate!.refused!),
  ])
}

async function limiterRows(rounds: number): Promise<string[][]> {
  const titles = Object.entries(LIMITERS).map(([name, { title }]) => [name, title] as const)
  const limiters = [...titles.slice(0, 1), ['topicgate', 'topicgate'] as const, ...titles.slice(1)]
  const found = new Map<string, Readonly<Record<string, Findings>>>()
  for (const work of Object.keys(SHARED)) {
    const cells = limiters.map(([name]) => [name, run(name, work)] as const)
    found.set(work, await alternate(rounds, Object.fromEntries(cells)))
  }
  return limiters.map(([name, title]) => [
    title,
    ...Object.keys(SHARED).flatMap(work => {
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
