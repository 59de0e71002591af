import type { GatewaySubject } from './gateway-subjects.ts'
import { hasHaproxy } from './haproxy.ts'
import {
  alternate,
  alternateSlices,
  type CellSpec,
  type Findings,
  nanoseconds,
  runCell,
  section,
  table,
} from './harness.ts'

/** Turns of each subject of a round. */
const SLICES = 8

const NAMES: Readonly<Record<GatewaySubject, string>> = {
  pipe: 'pipe',
  haproxy: 'HAProxy',
  walk: 'gateway without rules',
  one: 'gateway, one rule, all pass',
  limits: 'gateway, three rules, all pass',
  refusing: 'gateway, three rules, all refused',
}

export async function gateway(rounds: number): Promise<string> {
  if (!hasHaproxy())
    console.error('bench: HAProxy is not installed (apt-get install haproxy): its rows are left out')
  const haproxy: readonly GatewaySubject[] = hasHaproxy() ? ['haproxy'] : []
  const bulk = await measureCpu('mqtt', 'bulk', rounds, [
    ...(['pipe', ...haproxy, 'walk', 'one', 'limits', 'refusing'] as const),
  ])
  const fleet = await measureCpu('mqtt', 'fleet', rounds, ['pipe', ...haproxy, 'limits', 'refusing'])
  const memory = await measureMemory(rounds, ['pipe', ...haproxy, 'limits'])
  return section(
    'MQTT gateway',
    `CPU of the process per message: ten publishers of QoS 0 at full speed over TCP, 100-byte payloads, and a broker that discards them, each in a process of its own. "pipe" is two Node sockets joined by \`pipe\`, HAProxy runs in TCP mode with one thread. ${describeRatio(rounds)}`,
    [
      bulk,
      '200 clients that send one message of 100 bytes at QoS 1 and wait for its acknowledgement: each write has one packet.',
      fleet,
      'Memory per client that is connected and idle, with its connection to the broker: growth with 2,000 of them after 500 others, after garbage collection. The system holds the buffers of the sockets.',
      memory,
    ].join('\n\n'),
  )
}

export async function natsGateway(rounds: number): Promise<string> {
  return section(
    'NATS gateway',
    `CPU of the gateway process per message: ten publishers at full speed over TCP, 100-byte payloads, and a server that discards them, each in a process of its own. ${describeRatio(rounds)}`,
    await measureCpu('nats', 'bulk', rounds, ['pipe', 'walk', 'one', 'limits', 'refusing']),
  )
}

function describeRatio(rounds: number): string {
  return `The ratio is the median over ${rounds} rounds of new processes that take turns.`
}

async function measureCpu(
  protocol: 'mqtt' | 'nats',
  shape: 'bulk' | 'fleet',
  rounds: number,
  subjects: readonly GatewaySubject[],
): Promise<string> {
  const cells = subjects.map((subject): [string, CellSpec] => {
    // The CPU time of other processes is known in hundredths of a second only.
    const bulk = subject === 'haproxy' ? '500000' : '100000'
    return [subject, ['gateway', [protocol, subject, shape, shape === 'bulk' ? bulk : '4000']]]
  })
  const found = await alternateSlices(rounds, SLICES, Object.fromEntries(cells))
  const rows = subjects.map(subject => {
    const { cpuNs, ratio } = found[subject]!
    return [
      NAMES[subject],
      nanoseconds(cpuNs!),
      Math.round(1e9 / cpuNs!).toLocaleString('en'),
      `${ratio!.toFixed(2)}×`,
    ]
  })
  return table(['work', 'CPU', 'messages per CPU second', 'ratio'], rows)
}

async function measureMemory(rounds: number, subjects: readonly GatewaySubject[]): Promise<string> {
  const cells = subjects.map((subject): [string, () => Promise<Findings>] => [
    subject,
    () => runCell('gateway-memory', [subject, '2000']),
  ])
  const found = await alternate(rounds, Object.fromEntries(cells))
  const kilobytes = (bytes: number): string => `${(bytes / 1_000).toFixed(1)} kB`
  const rows = subjects.map(subject => {
    const { heapBytes, rssBytes } = found[subject]!
    return [NAMES[subject], subject === 'haproxy' ? '' : kilobytes(heapBytes!), kilobytes(rssBytes!)]
  })
  return table(['work', 'heap and external', 'RSS'], rows)
}
