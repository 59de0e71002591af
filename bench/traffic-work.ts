import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import { packageFile } from '../src/core/package-files.ts'
import { exempt, Gate, type GateOptions, limit, type Middleware, systemClock } from '../src/index.ts'
import { CUT_JSON, jsonOf, NO_JSON } from './conditions-work.ts'
import type { TrafficOptions } from './traffic-load.ts'

/** One row of the table: its messages, and a gate that decides about them. */
export interface TrafficWork {
  readonly title: string
  readonly traffic: TrafficOptions
  /** Milliseconds by which the clock advances per message. Default: the clock of the system. */
  readonly stepMs?: number
  /** Messages of each sender before the measurement that use up its limits. Default: none. */
  readonly flood?: number
  readonly openGate: (options: GateOptions) => Promise<Gate>
}

/** Units of senders that are to exceed their limits. */
export const FEW_UNITS = 400

/** Returns a limit that is never reached by default. */
function limitBy(per: 'client' | 'device', rate = '1000000/s burst 1000000000'): Middleware {
  return limit({ name: per, rate, per, exceeded: 'drop' })
}

const ONE_TOPIC = ['fleet/site-{site}/device-{n}/telemetry/temperature']
const PATTERN = 'fleet/{site}/{device}/telemetry/#'

function topics(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `fleet/site-{site}/device-{n}/telemetry/t${index}`)
}

async function openSimple(options: GateOptions, ...before: readonly Middleware[]): Promise<Gate> {
  return new Gate(options).use(PATTERN, ...before, limitBy('client'))
}

/** Opens a gate whose senders are refused after a few hundred messages. */
async function openExceeded(options: GateOptions): Promise<Gate> {
  return new Gate(options).use(PATTERN, limitBy('client', `${FEW_UNITS} per 1000000s`))
}

const checkPayload = exempt({
  name: 'urgent',
  when: { payload: { field: 'priority', equals: 'urgent' } },
  limit: '60/min per ip',
})
const urgentHeader = exempt({
  name: 'urgent',
  when: { header: { name: 'x-priority', equals: 'urgent' } },
  limit: '60/min per ip',
})

const secretHeader = exempt({
  name: 'partner',
  when: { header: { name: 'x-api-key', secret: 'a long random text, as a key has' } },
  limit: '60/min per ip',
})

const GENERAL: Readonly<Record<string, TrafficWork>> = {
  same: {
    title: 'One topic each, always the same string',
    traffic: { topics: ONE_TOPIC, topicStrings: 'same' },
    openGate: openSimple,
  },
  even: {
    title: 'One topic each, a new string per message',
    traffic: { topics: ONE_TOPIC },
    openGate: openSimple,
  },
  topics4: {
    title: '4 topics each in turn',
    traffic: { topics: topics(4) },
    openGate: openSimple,
  },
  topics16: {
    title: '16 topics each in turn',
    traffic: { topics: topics(16) },
    openGate: openSimple,
  },
  zipf: {
    title: 'Senders by Zipf’s law',
    traffic: { topics: ONE_TOPIC, order: 'zipf' },
    openGate: openSimple,
  },
  exceeded: {
    title: '5 % refused',
    traffic: { topics: ONE_TOPIC, order: 'over-limit' },
    flood: FEW_UNITS,
    openGate: openExceeded,
  },
  senders: {
    title: 'A new sender object per message',
    traffic: { topics: ONE_TOPIC, senderObjects: 'new' },
    openGate: openSimple,
  },
  twoRules: {
    title: 'Two rules',
    traffic: { topics: ONE_TOPIC },
    openGate: options => openSimple(options, limitBy('device')),
  },
  middleware: {
    title: 'Two rules, own middleware between them',
    traffic: { topics: ONE_TOPIC },
    openGate: options =>
      openSimple(options, limitBy('device'), (message, next) =>
        message.size > 1_000_000
          ? { allowed: false, outcome: 'drop', reason: 'large', retryAfterMs: 0 }
          : next(),
      ),
  },
  overrides: {
    title: 'An override for every sender',
    traffic: { topics: ONE_TOPIC },
    openGate: async options => {
      const gate = await openSimple(options)
      for (let index = 0; index < 10_000; index++)
        await gate.overrides.add({ client: `client-${index}`, limit: 'x2', reason: 'bench' })
      return gate
    },
  },
  header: {
    title: 'An exemption by a header',
    traffic: { topics: ONE_TOPIC, hasHeaders: true },
    openGate: options => openSimple(options, urgentHeader),
  },
  secret: {
    title: 'An exemption by a secret in a header',
    traffic: { topics: ONE_TOPIC, hasHeaders: true },
    openGate: options => openSimple(options, secretHeader),
  },
  identity: {
    title: '`senders` from a header',
    traffic: { topics: ONE_TOPIC, hasHeaders: true },
    openGate: options =>
      Gate.fromPolicy(
        {
          version: 1,
          senders: { apiKey: '{header.x-api-key}' },
          rules: [{ name: 'key', topic: PATTERN, limit: '1000000/s burst 1000000000', per: 'apiKey' }],
        },
        options,
      ),
  },
  json: {
    title: 'An exemption by a field of 100 B of JSON',
    traffic: { topics: ONE_TOPIC },
    openGate: options => openSimple(options, checkPayload),
  },
  json1k: {
    title: 'The same, 1 KB of JSON',
    traffic: { topics: ONE_TOPIC, payload: jsonOf(1_000) },
    openGate: options => openSimple(options, checkPayload),
  },
  json10k: {
    title: 'The same, 10 KB of JSON',
    traffic: { topics: ONE_TOPIC, payload: jsonOf(10_000) },
    openGate: options => openSimple(options, checkPayload),
  },
  binary: {
    title: 'The same, 10 KB that are not JSON',
    traffic: { topics: ONE_TOPIC, payload: NO_JSON },
    openGate: options => openSimple(options, checkPayload),
  },
  cut: {
    title: 'The same, 10 KB of JSON without its end',
    traffic: { topics: ONE_TOPIC, payload: CUT_JSON },
    openGate: options => openSimple(options, checkPayload),
  },
}

/** Topics that the ready policies are written for, and a pace at which they refuse nothing. */
const POLICIES = {
  'fleet.yaml': {
    topics: ['telemetry/temperature', 'telemetry/pressure', 'telemetry/battery', 'event/door'].map(
      end => `fleet/site-{site}/device-{n}/${end}`,
    ),
    stepMs: 0.1,
  },
  'edge-gateway.yaml': {
    topics: ['temperature', 'humidity', 'battery', 'image'].map(end => `up/sensor-{n}/${end}`),
    stepMs: 2,
  },
  'api-style.yaml': {
    topics: ['read', 'search', 'write', 'export'].map(operation => `api/v1/${operation}/orders`),
    stepMs: 0.5,
  },
  'strict-ingest.yaml': {
    topics: ['temperature', 'humidity', 'battery', 'state'].map(end => `ingest/source-{n}/${end}`),
    stepMs: 0.1,
  },
} as const

/** Names of the ready policies. */
export const POLICY_FILES = Object.keys(POLICIES)

interface WrittenPolicy {
  readonly senders?: object
  readonly rules: readonly {
    readonly name: string
    readonly on?: string
    readonly topic?: string
    readonly per?: string | readonly string[]
  }[]
}

/** Returns a policy with the patterns and keys of another, whose rules are plain token buckets that are never reached. */
function plainRulesOf(text: string): object {
  const { senders, rules } = parse(text) as WrittenPolicy
  const plain = rules
    .filter(({ on = 'publish' }) => on === 'publish')
    .map(({ name, topic, per }) => ({ name, topic, per, limit: '1000000/s burst 1000000000' }))
  return { version: 1, senders, rules: plain }
}

function policyWorks(
  file: string,
  given: (typeof POLICIES)[keyof typeof POLICIES],
): Record<string, TrafficWork> {
  const openGate = (options: GateOptions): Promise<Gate> =>
    Gate.fromPolicy(packageFile(`config/${file}`), { ...options, env: {} })
  const first = given.topics.slice(0, 1)
  const openPlain = async (options: GateOptions): Promise<Gate> =>
    Gate.fromPolicy(plainRulesOf(await readFile(packageFile(`config/${file}`), 'utf8')), options)
  return {
    [file]: {
      title: `\`${file}\`, no limit reached`,
      traffic: { topics: first },
      stepMs: given.stepMs,
      openGate,
    },
    [`${file} plain`]: {
      title: `\`${file}\`, its keys as plain token buckets`,
      traffic: { topics: first },
      openGate: openPlain,
    },
    [`${file} topics`]: {
      title: `\`${file}\`, no limit reached, 4 topics each`,
      traffic: { topics: given.topics },
      stepMs: given.stepMs,
      openGate,
    },
    [`${file} flood`]: {
      title: `\`${file}\`, flooded`,
      traffic: { topics: first, senders: 1_000 },
      stepMs: 0.001,
      flood: 2 * FEW_UNITS,
      openGate,
    },
  }
}

/** All kinds of traffic, in the order of the table. */
export const WORKS: Readonly<Record<string, TrafficWork>> = Object.assign(
  {},
  GENERAL,
  ...Object.entries(POLICIES).map(([file, given]) => policyWorks(file, given)),
)

/** Start of the simulated time: a Monday at noon, outside of all maintenance windows. */
const START_MS = Date.UTC(2026, 0, 5, 12)

/** Clock that advances by a fixed time per message. It also reads the system clock, so that a reading costs as much. */
export class StepClock {
  readonly lagMs = 0
  #nowMs = START_MS
  readonly #stepMs: number

  constructor(stepMs: number) {
    this.#stepMs = stepMs
  }

  now(): number {
    const realMs = systemClock.now()
    this.#nowMs += this.#stepMs
    return realMs > 0 ? Math.floor(this.#nowMs) : realMs
  }

  /** Timers never run: no keys are swept during a measurement. */
  after(): () => void {
    return () => {}
  }
}
