import { parseArgs } from 'node:util'
import { profile } from './breakdown.ts'
import { CONDITIONS } from './conditions-work.ts'
import { expiry, memory, unknownClients } from './footprint.ts'
import { gateway, natsGateway } from './gateway-tables.ts'
import {
  alternate,
  alternateSlices,
  bytes,
  type CellSpec,
  type Findings,
  nanoseconds,
  runCell,
  section,
  table,
  times,
} from './harness.ts'
import { writeSection } from './page.ts'
import { rollout } from './rollout-tables.ts'
import { connects, loading, start } from './start-tables.ts'
import { traffic } from './traffic-tables.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, write: { type: 'string' } },
})
const rounds = Number(values.rounds)
const MORE_MEMORY = ['--max-old-space-size=8192']

async function decide(): Promise<string> {
  const rows: string[][] = []
  for (const rules of ['1', '3']) {
    for (const outcome of ['allowed', 'refused']) {
      for (const senders of ['1', '10000', '1000000']) {
        const run = (subject: string, decisions: string) => (): Promise<Findings> =>
          runCell('decide', [subject, senders, rules, outcome, decisions], MORE_MEMORY)
        const found = await alternate(rounds, {
          topicgate: run('topicgate', senders === '1000000' ? '500000' : '1000000'),
          flexible: run('flexible', senders === '1000000' ? '100000' : '200000'),
        })
        const ours = found.topicgate!.ns!
        const theirs = found.flexible!.ns!
        const sizes = Number(senders).toLocaleString('en')
        rows.push([
          `${rules} ${rules === '1' ? 'rule' : 'rules'}, ${sizes} senders, ${outcome}`,
          nanoseconds(ours),
          nanoseconds(theirs),
          times(theirs / ours),
        ])
      }
    }
  }
  return section(
    'A decision',
    'Two exemptions, topic routing and a fresh message object are part of each decision of topicgate; the peer gets a prepared key and routes nothing. One rule is compared with RateLimiterMemory, three rules with its union of three (which is not atomic).',
    table(['work', 'topicgate', 'rate-limiter-flexible', 'faster by'], rows),
  )
}

async function conditions(): Promise<string> {
  const { found } = await alternate(rounds, { found: () => runCell('conditions', []) })
  const rows = Object.entries(CONDITIONS).map(([name, { title }]) => {
    const ns = found![name]!
    const parseNs = found![`${name} parse`]
    const compared = parseNs === undefined ? ['', ''] : [nanoseconds(parseNs), ratio(ns / parseNs)]
    return [title, nanoseconds(ns), ...compared]
  })
  return section(
    'Conditions',
    'One condition that does not hold, on messages of aedes and messages with headers. `JSON.parse` decodes and parses the same payload, and catches its error. Payload fields include the creation of the message.',
    table(['condition', 'topicgate', 'JSON.parse', 'ratio'], rows),
  )
}

function ratio(value: number): string {
  return value < 0.01 ? '< 0.01' : value.toFixed(2)
}

async function patterns(): Promise<string> {
  const found = await alternate(
    rounds,
    Object.fromEntries(
      ['10', '1000', '10000'].map(count => [count, () => runCell('patterns', [count])] as const),
    ),
  )
  const rows = Object.entries(found).map(([count, { warm, cold }]) => [
    Number(count).toLocaleString('en'),
    nanoseconds(warm!),
    times(warm! / found['10']!.warm!),
    nanoseconds(cold!),
    times(cold! / found['10']!.cold!),
  ])
  return section(
    'Topic patterns',
    'A decision in which one of so many rules matches; for a topic seen before, and one never seen.',
    table(['patterns', 'topic seen before', 'of 10 patterns', 'new topic', 'of 10 patterns'], rows),
  )
}

/** What `topicgate broker` sets for itself. */
const BUDGET = '--max-inlined-bytecode-size-cumulative=3000'

/** Turns of each broker of a round. */
const SLICES = 8

async function broker(): Promise<string> {
  const rows: string[][] = []
  for (const subscribers of ['1', '0']) {
    for (const qos of ['0', '1']) {
      const cell = (subject: string, messages: string, ...flags: string[]): CellSpec =>
        ['broker', [subject, qos, subscribers, messages], flags] as const
      // Where a message costs little, what one process differs from the next by counts for more.
      const processes = subscribers === '1' ? rounds : 3 * rounds
      const { bare, topicgate, bareBudget, budget, drop } = await alternateSlices(processes, SLICES, {
        bare: cell('bare', '20000'),
        topicgate: cell('topicgate', '20000'),
        bareBudget: cell('bare', '20000', BUDGET),
        budget: cell('topicgate', '20000', BUDGET),
        drop: cell('drop', '100000'),
      })
      rows.push([
        `QoS ${qos}, ${subscribers} subscriber${subscribers === '1' ? '' : 's'}`,
        nanoseconds(bare!.cpuNs!),
        nanoseconds(topicgate!.cpuNs!),
        `${topicgate!.ratio!.toFixed(3)}×`,
        `${(budget!.ratio! / bareBudget!.ratio!).toFixed(3)}×`,
        nanoseconds(drop!.cpuNs!),
        `${(1 / drop!.ratio!).toFixed(1)}×`,
        Math.round(bare!.perSecond!).toLocaleString('en'),
        Math.round(topicgate!.perSecond!).toLocaleString('en'),
        Math.round(drop!.perSecond!).toLocaleString('en'),
      ])
    }
  }
  return section(
    'aedes',
    `CPU of the broker process per message: ten publishers at full speed over TCP, 100-byte payloads, three rules, nothing refused; "budget" is the ratio if both run with the inlining budget of docs/aedes.md; "dropping" lets one message in twenty pass and refuses the rest; "less" is how many times less CPU that is than aedes alone. Brokers run side by side and take turns of 20,000 messages, ${SLICES} a round; the ratio is the median over the rounds of new processes, ${rounds} with a subscriber and ${3 * rounds} without, because two processes of the same program differ by up to a tenth.`,
    table(
      [
        ...['work', 'aedes alone', 'with topicgate', 'ratio', 'ratio (budget)', 'dropping', 'less'],
        ...['messages/s alone', 'with topicgate', 'dropping'],
      ],
      rows,
    ),
  )
}

async function workers(): Promise<string> {
  const cell = (count: string): CellSpec => ['workers', [count, '400000'], []] as const
  const { one, two } = await alternateSlices(rounds, SLICES, { one: cell('1'), two: cell('2') })
  const row = (name: string, found: typeof one, capacity: number): string[] => [
    name,
    nanoseconds(found!.cpuNs!),
    Math.round(1e9 / found!.cpuNs!).toLocaleString('en'),
    `${capacity.toFixed(2)}×`,
  ]
  return section(
    'Workers',
    `CPU of all processes of \`topicgate gateway\` per message: ten publishers of QoS 0 at full speed over TCP, 100-byte payloads, a limit that all clients share and one for each, all messages pass. The load generator and the broker use the same cores, so the last column is what N workers carry on N free cores: N ÷ the ratio of CPU per message, the median over ${rounds} rounds.`,
    table(
      ['processes', 'CPU', 'messages per CPU second', 'carry'],
      [row('one', one, 1), row('primary and two workers', two, 2 / two!.ratio!)],
    ),
  )
}

async function sqlite(): Promise<string> {
  const rows: string[][] = []
  for (const driver of ['better-sqlite3', 'libsql']) {
    for (const rules of ['1', '3']) {
      for (const inFlight of ['64', '1']) {
        const decisions = inFlight === '1' ? '10000' : '60000'
        const run = (): Promise<Findings> => runCell('sqlite', [driver, rules, '10000', inFlight, decisions])
        const { found } = await alternate(rounds, { found: run })
        rows.push([
          `${driver}, ${rules} ${rules === '1' ? 'rule' : 'rules'}, ${inFlight === '1' ? 'one at a time' : `${inFlight} at once`}`,
          Math.round(found!.perSecond!).toLocaleString('en'),
          nanoseconds(found!.cpuNs!),
          nanoseconds(found!.p50Ms! * 1e6),
          nanoseconds(found!.p99Ms! * 1e6),
        ])
      }
    }
  }
  return section(
    'SQLite',
    'Ten thousand clients on a file; rules per client, per tenant and global, one step for all. Concurrent decisions share transactions; one at a time is a transaction for each decision. The time of an answer is measured from the call.',
    table(['work', 'decisions/s', 'CPU a decision', 'median', '99th percentile'], rows),
  )
}

async function redis(): Promise<string> {
  const rows: string[][] = []
  for (const [inFlight, messages] of [
    ['1', '10000'],
    ['64', '60000'],
    ['512', '100000'],
  ] as const) {
    const run = (subject: string) => (): Promise<Findings> => runCell('redis', [subject, inFlight, messages])
    const found = await alternate(rounds, { topicgate: run('topicgate'), flexible: run('flexible') })
    const { topicgate, flexible } = found
    rows.push([
      `${inFlight} in flight`,
      Math.round(topicgate!.perSecond!).toLocaleString('en'),
      Math.round(flexible!.perSecond!).toLocaleString('en'),
      times(topicgate!.perSecond! / flexible!.perSecond!),
      `${topicgate!.redisUs!.toFixed(1)} / ${flexible!.redisUs!.toFixed(1)} µs`,
      `${topicgate!.ownUs!.toFixed(1)} / ${flexible!.ownUs!.toFixed(1)} µs`,
    ])
  }
  return section(
    'Redis',
    'Messages a second of three limits each, on the loopback, beside a union of three RateLimiterRedis (which is not atomic); CPU of Redis and of the caller per message, ours / theirs.',
    table(
      ['work', 'topicgate', 'rate-limiter-flexible', 'faster by', 'CPU of Redis', 'CPU of the caller'],
      rows,
    ),
  )
}

async function leased(): Promise<string> {
  const rows: string[][] = []
  for (const rules of ['1', '3']) {
    const run = (subject: string, decisions: string) => (): Promise<Findings> =>
      runCell('leased', [subject, rules, decisions])
    const found = await alternate(rounds, {
      leased: run('leased', '2000000'),
      memory: run('memory', '2000000'),
      redis: run('redis', '100000'),
    })
    const [ours, memory, redis] = ['leased', 'memory', 'redis'].map(name => found[name]!.perSecond!)
    rows.push([
      `${rules} ${rules === '1' ? 'rule' : 'rules'}`,
      ...[ours!, memory!, redis!].map(each => Math.round(each).toLocaleString('en')),
      times(ours! / memory!),
      times(ours! / redis!),
    ])
  }
  return section(
    'Leases',
    'Decisions a second of a gate in bursts of 256, 100 clients in turn: on leases of one Redis, in memory, and with a call of Redis for each decision.',
    table(['work', 'leased', 'memory', 'redis', 'of memory', 'of redis'], rows),
  )
}

async function nats(): Promise<string> {
  const rows: string[][] = []
  const kinds = { core: 'subscription', jetstream: 'JetStream', manual: 'JetStream, handlers acknowledge' }
  for (const [kind, title] of Object.entries(kinds)) {
    for (const generation of ['2', '3']) {
      const { both } = await alternate(rounds, { both: () => runCell('nats', ['compare', kind, generation]) })
      const { bareNs, limitedNs, kept } = both!
      rows.push([
        `${title}, ${generation === '2' ? 'nats 2' : '@nats-io 3'}`,
        nanoseconds(bareNs!),
        nanoseconds(limitedNs!),
        `${Math.round(100 * kept!)} %`,
      ])
    }
  }
  const { queued } = await alternate(1, {
    queued: () => runCell('nats', ['queued', '100000']),
  })
  return section(
    'NATS',
    `CPU of a consumer per message, after 100,000 that are not counted: 100-byte messages on a hundred subjects to a callback that reads subject and payload, three rules, nothing refused. With JetStream the client's handler acknowledges each message; with topicgate it need not, because topicgate does this at a lower cost. In the last lines the handlers acknowledge in both cases. The client alone and the client with topicgate run side by side and take 20,000 messages in turns; the ratio is the median of neighbouring turns. ${Math.round(queued!.held!).toLocaleString('en')} messages of 100 bytes that a rule queues take ${bytes(queued!.bytesEach!)} each.`,
    table(['work', 'client alone', 'with topicgate', 'messages per CPU second'], rows),
  )
}

async function mqtt(): Promise<string> {
  const rows: string[][] = []
  const row = async (title: string, from: string, args: readonly string[]): Promise<void> => {
    const { bare, topicgate } = await alternate(rounds, {
      bare: () => runCell('mqtt', [`${from}bare`, ...args]),
      topicgate: () => runCell('mqtt', [`${from}topicgate`, ...args]),
    })
    rows.push([
      title,
      nanoseconds(bare!.cpuNs!),
      nanoseconds(topicgate!.cpuNs!),
      `${((100 * bare!.cpuNs!) / topicgate!.cpuNs!).toFixed(0)} %`,
    ])
  }
  await row('QoS 0', '', ['4', '0', '200000'])
  await row('QoS 1', '', ['4', '1', '200000'])
  await row('QoS 1, MQTT 5', '', ['5', '1', '200000'])
  await row('packets out of memory', 'feed-', ['4', '0', '1000000'])
  const { queued } = await alternate(1, {
    queued: () => runCell('mqtt', ['queued', '4', '1', '100000'], MORE_MEMORY),
  })
  return section(
    'MQTT consumers',
    `CPU of an MQTT.js client per message of 100 bytes, a thousand topics, three rules, nothing refused: behind a Mosquitto with a separate publisher, and with packets from memory that are parsed and passed on without a socket. The second case shows only the cost of topicgate, without that of a connection. Behind a broker the runs of a busy machine vary by a fifth, more than the difference: read the cost of topicgate from the last line. A queued message takes ${queued!.bytesEach!.toFixed(0)} bytes, including its payload.`,
    table(['work', 'client alone', 'with topicgate', 'messages per CPU second kept'], rows),
  )
}

async function natsKv(): Promise<string> {
  const rows: string[][] = []
  for (const [subject, nodes, title] of [
    ['kv', '1', 'bucket, one node'],
    ['kv', '8', 'bucket, eight nodes'],
    ['stream', '1', 'stream, one node'],
    ['stream', '8', 'stream, eight nodes'],
    ['leased', '1', 'bucket on leases, one node'],
  ] as const) {
    const { found } = await alternate(rounds, { found: () => runCell('nats-kv', [subject, nodes, '2000']) })
    const { perSecond, p50Us, p99Us } = found!
    rows.push([
      title,
      Math.round(perSecond!).toLocaleString('en'),
      nanoseconds(p50Us! * 1_000),
      nanoseconds(p99Us! * 1_000),
    ])
  }
  return section(
    'NATS as a store',
    'Nodes of one process decide on the same key, each one decision after another; JetStream on a file.',
    table(['work', 'decisions/s', 'median', '99th percentile'], rows),
  )
}

async function insight(): Promise<string> {
  const rows: string[][] = []
  const evenly = ['allowed', 'refused'].flatMap(outcome =>
    ['1', '10000', '100000'].map(senders => [senders, outcome, outcome] as const),
  )
  const uneven = ['100/s', '1/s'].map(rate => ['200000', rate, `Zipf’s law, ${rate} each`] as const)
  for (const [senders, outcome, what] of [...evenly, ...uneven]) {
    const run = (): Promise<Findings> => runCell('insight', [senders, '3', outcome])
    const { found } = await alternate(rounds, { found: run })
    rows.push([
      `${Number(senders).toLocaleString('en')} senders, ${what}`,
      nanoseconds(found!.off!),
      nanoseconds(found!.heard!),
      nanoseconds(found!.analytics!),
      nanoseconds(found!.more!),
      times(found!.ratio!),
    ])
  }
  return section(
    'Analytics',
    'CPU of a decision by three rules without listeners, with a listener that does nothing, and with analytics, in short turns in one process; `more` is the median of the additional time of analytics, turn by turn.',
    table(['work', 'no listener', 'a listener', 'analytics', 'more', 'ratio'], rows),
  )
}

async function observers(): Promise<string> {
  const rows: string[][] = []
  for (const refused of ['0', '20']) {
    const run = (): Promise<Findings> => runCell('observers', ['50000', refused, '30'])
    const { found } = await alternate(rounds, { found: run })
    rows.push([
      `${refused} % refused`,
      Math.round(found!.perSecond!).toLocaleString('en'),
      nanoseconds(found!.aloneNs!),
      nanoseconds(found!.observedNs!),
      `${found!.ratio!.toFixed(3)}×`,
      `${found!.totalRatio!.toFixed(3)}×`,
    ])
  }
  return section(
    'Dashboard and tail',
    'CPU of the broker process per message, all threads: 100 publishers at QoS 0 over TCP, 100-byte payloads, three rules, no subscriber. In turns of 1.5 seconds without observers, and with the overview of one dashboard and one `topicgate tail`: their event streams and what the page reads. The admin server runs in both. `ratio` is the median over neighbouring turns, `of the sums` that of all turns together.',
    table(['work', 'messages/s', 'alone', 'observed', 'ratio', 'of the sums'], rows),
  )
}

async function scale(): Promise<string> {
  const run = (keys: string) => (): Promise<Findings> => runCell('scale', [keys], MORE_MEMORY)
  const found = await alternate(rounds, { '10,000': run('10000'), '1,000,000': run('1000000') })
  const rows = Object.entries(found).map(([keys, { firstMs, beforeNs, afterNs, settledNs }]) => [
    keys,
    `${firstMs!.toFixed(2)} ms`,
    nanoseconds(beforeNs!),
    nanoseconds(afterNs!),
    nanoseconds(settledNs!),
  ])
  return section(
    'A change of factor',
    'The factor of adaptive limits changes while all keys are in use. The table shows the first decision after the change, and the mean of a decision before it, of the first of each sender after it, and of later ones.',
    table(['keys', 'the first', 'before', 'first of a sender', 'later'], rows),
  )
}

const PARTS = {
  traffic,
  decide,
  scale,
  profile,
  patterns,
  conditions,
  broker,
  gateway,
  natsGateway,
  workers,
  memory,
  unknownClients,
  expiry,
  sqlite,
  redis,
  leased,
  nats,
  mqtt,
  natsKv,
  insight,
  observers,
  rollout,
  loading,
  start,
  connects,
}
/** Their titles, in the order of the page. */
const ORDER = [
  ...['Real traffic', 'A decision', 'A change of factor', 'Where the time goes', 'Topic patterns'],
  ...['Conditions', 'aedes', 'MQTT gateway', 'NATS gateway', 'Workers'],
  ...['A flood at aedes', 'Memory a key'],
  ...['A flood of unknown clients', 'Idle keys going', 'SQLite', 'Redis', 'Leases', 'NATS', 'MQTT consumers'],
  ...[
    'NATS as a store',
    'Analytics',
    'Dashboard and tail',
    'Rolling out a limit',
    'Loading a policy',
    'Start',
    'Connections',
  ],
]
for (const name of positionals.length === 0 ? Object.keys(PARTS) : positionals) {
  const part = PARTS[name as keyof typeof PARTS]
  if (part === undefined)
    throw new Error(`no bench called ${name}: there are ${Object.keys(PARTS).join(', ')}`)
  const text = await part(rounds)
  process.stderr.write('\n')
  console.log(text)
  if (values.write !== undefined) writeSection(values.write, text, ORDER, rounds)
}
