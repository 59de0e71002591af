import { basename } from 'node:path'
import { packageFile } from '../../core/package-files.ts'
import type { Dialect, Message, Operation, Sender } from '../../index.ts'
import { Gate, MemoryStore } from '../../index.ts'
import { loadPolicy, type PolicyDocument } from '../../policy/index.ts'
import { resolvePolicyFiles } from '../policy/resolve-policy-files.ts'
import { VirtualClock } from '../replay/virtual-clock.ts'
import { EXIT } from '../terminal/command-error.ts'
import { formatCount, formatShare, formatTable, sanitizeForTerminal } from '../terminal/format.ts'
import { paintFor, type Terminal } from '../terminal/terminal.ts'

const SECONDS = 10
const PER_SECOND = 1_000
const START_MS = Date.UTC(2026, 0, 7, 12)
const SIZES = [20, 2_000, 200_000]
const PRIORITIES = ['emergency', 'low', 'high']

/** Actions of an attacker, in the order of the columns. */
export const ATTACK_OPERATIONS = ['publish', 'subscribe', 'connect'] as const satisfies readonly Operation[]

/** Attackers by name, with the sender of their nth message. */
const ATTACKERS = {
  'one client': () => ({ client: 'c', ip: '192.0.2.1' }),
  'one IPv4 address': (n: number) => ({ client: `c${n}`, user: `u${n}`, ip: '192.0.2.1' }),
  'one IPv6 /64': (n: number) => ({ client: `c${n}`, user: `u${n}`, ip: addressOf(n) }),
} as const satisfies Record<string, (n: number) => Sender>

export type AttackerName = keyof typeof ATTACKERS

export const ATTACKER_NAMES = Object.keys(ATTACKERS) as readonly AttackerName[]

export interface PassedTraffic {
  readonly count: number
  readonly bytes: number
}

export interface AttackResult {
  readonly attacker: AttackerName
  readonly passed: Readonly<Record<(typeof ATTACK_OPERATIONS)[number], PassedTraffic>>
}

export interface AttackSimulationReport {
  readonly seconds: number
  readonly perSecond: number
  /** Messages and bytes of publishes that pass without a policy; the same number of messages for other actions. */
  readonly unlimited: PassedTraffic
  readonly attackers: readonly AttackResult[]
}

/** Floods a policy in virtual time. Each message varies its topic, priority, size and retain flag. */
export async function simulateAttacksOnPolicy(
  files: readonly string[],
  env: Terminal['env'],
): Promise<AttackSimulationReport> {
  const { document } = await loadPolicy(files, { env })
  const topics = topicsOf(document)
  const attackers: AttackResult[] = []
  for (const attacker of ATTACKER_NAMES) {
    const [publish, subscribe, connect] = [
      await flood(files, env, topics, attacker, 'publish'),
      await flood(files, env, topics, attacker, 'subscribe'),
      await flood(files, env, topics, attacker, 'connect'),
    ]
    attackers.push({ attacker, passed: { publish, subscribe, connect } })
  }
  const count = SECONDS * PER_SECOND
  let bytes = 0
  for (let n = 0; n < count; n++) bytes += sizeOf(n, topics.length)
  return { seconds: SECONDS, perSecond: PER_SECOND, unlimited: { count, bytes }, attackers }
}

/** Shows how much of an attack passes a policy. Ends by itself. */
export async function runAttackDemo(
  options: { readonly policy: readonly string[]; readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  const { stdout, env } = terminal
  const given = options.policy.length > 0 ? options.policy : [packageFile('config/fleet.yaml')]
  const files = await resolvePolicyFiles(given, env)
  const report = await simulateAttacksOnPolicy(files, env)
  const names = files.map(file => sanitizeForTerminal(basename(file)))
  if (options.json) stdout.write(`${JSON.stringify({ policy: names, ...report })}\n`)
  else {
    const paint = paintFor(stdout, env)
    const title = `${paint('bold', 'topicgate demo --attack')}  policy ${names.join(' + ')}`
    stdout.write(`${[title, ...describeAttack(report)].join('\n')}\n`)
  }
  return EXIT.fine
}

function describeAttack({
  seconds,
  perSecond,
  unlimited,
  attackers,
}: AttackSimulationReport): readonly string[] {
  const all = formatCount(unlimited.count)
  const rows = attackers.map(({ attacker, passed: { publish, subscribe, connect } }) => [
    attacker,
    formatCount(publish.count),
    formatMegabytes(publish.bytes),
    formatCount(subscribe.count),
    formatCount(connect.count),
  ])
  const most = Math.max(...attackers.map(({ passed }) => passed.publish.bytes))
  return [
    `${seconds} seconds of ${formatCount(perSecond)} attempts a second, in virtual time. Each varies its topic, priority, size and retain`,
    'flag; one client stays connected, the others use a new client id and user for each attempt.',
    '',
    ...formatTable(
      ['what gets through', 'publishes', 'of these bytes', 'subscribes', 'connects'],
      [['without limits', all, formatMegabytes(unlimited.bytes), all, all], ...rows],
    ),
    '',
    `at most ${formatShare(most, unlimited.bytes)} of the bytes get through`,
  ]
}

/** Returns `69.2 MB`. */
export function formatMegabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

async function flood(
  files: readonly string[],
  env: Terminal['env'],
  topics: readonly ((n: number) => string)[],
  attacker: AttackerName,
  action: Operation,
): Promise<PassedTraffic> {
  const clock = new VirtualClock(START_MS)
  const gate = await Gate.fromPolicy(files, { env, clock, store: new MemoryStore({ clock }) })
  const fixed = attacker === 'one client' ? ATTACKERS[attacker]() : undefined
  let [count, bytes] = [0, 0]
  try {
    for (let n = 0; n < SECONDS * PER_SECOND; n++) {
      if (n % PER_SECOND === 0) clock.moveTo(START_MS + (n / PER_SECOND) * 1_000)
      // Every topic is combined with every size, priority and retain flag.
      const round = Math.floor(n / topics.length)
      const priority = PRIORITIES[Math.floor(round / SIZES.length) % PRIORITIES.length]
      const message: Message = {
        topic: action === 'connect' ? '' : topics[n % topics.length]!(n),
        on: action,
        sender: fixed ?? ATTACKERS[attacker](n),
        size: action === 'publish' ? sizeOf(n, topics.length) : 0,
        retain: Math.floor(round / (SIZES.length * PRIORITIES.length)) % 2 === 0,
        payload: () => ({ priority }),
      }
      const { allowed } = await gate.check(message)
      if (!allowed) continue
      count++
      bytes += message.size
    }
  } finally {
    await gate.close()
  }
  return { count, bytes }
}

function sizeOf(n: number, topics: number): number {
  return SIZES[Math.floor(n / topics) % SIZES.length]!
}

/** Returns an address of one IPv6 /64, different for each n. */
function addressOf(n: number): string {
  const mixed = Math.imul(n + 1, 0x9e3779b1) >>> 0
  return `2001:db8:0:1:${(mixed >>> 16).toString(16)}:${(mixed & 0xffff).toString(16)}:0:${n.toString(16)}`
}

/** Returns topics that match the patterns of a policy, and one that matches none of them. */
function topicsOf(document: PolicyDocument): readonly ((n: number) => string)[] {
  const patterns = new Set<string>()
  for (const { topic } of document.rules ?? []) if (topic !== undefined) patterns.add(topic)
  for (const { topics } of document.exempt ?? []) for (const topic of topics ?? []) patterns.add(topic)
  const dialect = document.dialect ?? 'mqtt'
  const separator = dialect === 'nats' ? '.' : '/'
  return [...patterns, `x${separator}#`].map(pattern => n => fillPattern(pattern, dialect, n))
}

function fillPattern(pattern: string, dialect: Dialect, n: number): string {
  const [separator, single, rest] = dialect === 'nats' ? ['.', '*', '>'] : ['/', '+', '#']
  return pattern
    .split(separator)
    .map(level => (level === single || level === rest || level.startsWith('{') ? `v${n}` : level))
    .join(separator)
}
