import { alternate, bytes, type Findings, nanoseconds, runCell, section, table, times } from './harness.ts'

/** Beyond these rounds the figures do not change. */
const MOST_ROUNDS = 3
const KEYS = 1_000_000
const UNKNOWN_CLIENTS = 5_000_000
const MORE_MEMORY = ['--max-old-space-size=8192']

/** What a key costs, beside the peer. */
export async function memory(rounds: number): Promise<string> {
  const run = (subject: string) => (): Promise<Findings> =>
    runCell('memory', [subject, String(KEYS)], MORE_MEMORY)
  const subjects = ['state', 'flexible', 'pairs', 'flexible-pairs', 'senders']
  const found = await alternate(
    Math.min(rounds, MOST_ROUNDS),
    Object.fromEntries(subjects.map(subject => [subject, run(subject)])),
  )
  const row = (work: string, ours: string, theirs?: string): string[] => {
    const [own, peer] = [found[ours]!, theirs === undefined ? undefined : found[theirs]!]
    const ratio = peer === undefined ? '' : times(peer.bytes! / own.bytes!)
    return [work, bytes(own.bytes!), peer ? bytes(peer.bytes!) : '', ratio, bytes(own.rss!)]
  }
  return section(
    'Memory a key',
    `Heap and typed arrays after garbage collection, divided by ${KEYS.toLocaleString('en')} keys of a token bucket that were all used. Client ids and topics are made before and not counted, because they belong to the broker. The peer is RateLimiterMemory without a prefix, with a prepared key. RSS is the growth of the whole process.`,
    table(
      ['work', 'topicgate', 'rate-limiter-flexible', 'smaller by', 'RSS of topicgate'],
      [
        row('1 rule per client: state, index and list of keys', 'state', 'flexible'),
        row('1 rule per client and topic, with its key strings', 'pairs', 'flexible-pairs'),
        row('1 rule per client, all still connected: with their senders', 'senders'),
      ],
    ),
  )
}

/** What a flood of client ids and topics can do. */
export async function unknownClients(): Promise<string> {
  const run = (kind: string): Promise<Findings> => runCell('unknown-clients', [kind, String(UNKNOWN_CLIENTS)])
  const fresh = await run('fresh')
  process.stderr.write('.')
  const spent = await run('spent')
  process.stderr.write('.')
  const steps = Array.from({ length: 11 }, (_, step) => [
    ((UNKNOWN_CLIENTS / 10) * step).toLocaleString('en'),
    ...[fresh, spent].flatMap(found => [
      found[`keys${step}`]!.toLocaleString('en'),
      bytes(found[`heap${step}`]!),
      bytes(found[`rss${step}`]!),
    ]),
  ])
  const kinds = (['fresh', 'spent'] as const).map(kind => {
    const found = kind === 'fresh' ? fresh : spent
    const counts = ['evictions', 'overflows', 'warnings', 'stillRefused'].map(name =>
      found[name]!.toLocaleString('en'),
    )
    return [kind, nanoseconds(found.ns!), ...counts]
  })
  return section(
    'A flood of unknown clients',
    `${UNKNOWN_CLIENTS.toLocaleString('en')} new client ids and topics send one message each, against a rule per client and a rule per client and topic, each with the default bound of 1,048,576 keys. *Fresh* clients use one of ten units, so their keys may be evicted. *Spent* clients use up their limits, so no key may be evicted and later clients share a counter. A hundred senders were refused before the flood begins. One run; heap and typed arrays after garbage collection.`,
    [
      table(['clients', 'keys, fresh', 'heap', 'RSS', 'keys, spent', 'heap', 'RSS'], steps),
      table(
        ['kind', 'a message', 'evictions', 'at a shared counter', 'warnings', 'of 100 still refused'],
        kinds,
      ),
    ].join('\n\n'),
  )
}

/** Whether forgetting is noticed. */
export async function expiry(rounds: number): Promise<string> {
  const found = await alternate(Math.min(rounds, MOST_ROUNDS), {
    all: () => runCell('expiry', [String(KEYS)]),
  })
  const { idleP99, idleMax, sweptP99, sweptMax, sweepSeconds } = found.all!
  const ms = (value: number): string => `${value.toFixed(2)} ms`
  return section(
    'Idle keys going',
    `Delay of the event loop (monitorEventLoopDelay, resolution 1 ms, which is part of each figure) of an idle process, and while ${KEYS.toLocaleString('en')} keys that have expired are forgotten. All are gone ${sweepSeconds!.toFixed(1)} s after the first.`,
    table(
      ['event loop', 'p99', 'longest'],
      [
        ['idle', ms(idleP99!), ms(idleMax!)],
        ['while a million keys go', ms(sweptP99!), ms(sweptMax!)],
        ['difference', ms(sweptP99! - idleP99!), ms(sweptMax! - idleMax!)],
      ],
    ),
  )
}
