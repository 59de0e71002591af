import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { comparePolicies } from '../../../../src/cli/policy-diff/compare-policies.ts'
import { describePolicyChanges } from '../../../../src/cli/policy-diff/describe-diff.ts'
import { loadPolicy, policyJsonSchema } from '../../../../src/policy/index.ts'

/** Returns the lines about two policies, of which `$NAME` is no variable. */
async function compare(old: string | object, now: string | object): Promise<readonly string[]> {
  const [before, after] = [await loadPolicy(old, { env: {} }), await loadPolicy(now, { env: {} })]
  return describePolicyChanges(comparePolicies(before.document, after.document), (_style, text) => text)
}

/** A word, two of its values as written, and what else its rule, exemption or policy has. */
type Row = readonly [word: string, old: string, now: string, context?: string]

const RULE_ROWS: readonly Row[] = [
  ['description', 'first', 'second'],
  ['enabled', 'true', 'false'],
  ['priority', '1', '2'],
  ['topic', 'a/#', 'b/#'],
  ['on', 'publish', 'subscribe'],
  ['per', 'client', '[client, ip]'],
  ['limit', '10/s', '20/s burst 30'],
  ['quota', '10/day', '20/day', '{ limit: null }'],
  ['zone', 'Europe/Berlin', 'Asia/Tokyo', '{ limit: null, quota: 10/day }'],
  ['window', 'calendar', 'rolling', '{ limit: null, quota: 10/day }'],
  ['inFlight', '10', '20', '{ limit: null }'],
  ['connections', '10', '20', '{ limit: null }'],
  ['subscriptions', '10', '20', '{ limit: null }'],
  ['retained', '10', '20', '{ limit: null }'],
  ['maxSize', '10kB', '20kB', '{ limit: null }'],
  ['unchanged', 'drop', 'reject', '{ limit: null }'],
  ['upTo', '1m', '2m', '{ limit: null, unchanged: drop }'],
  ['burst', '10', '20'],
  ['initial', '10', '20', '{ burst: 30 }'],
  ['algorithm', 'sliding-log', 'fixed-window'],
  ['shadow', 'true', '90%'],
  ['fallback', 'allow', 'deny'],
  ['warn', '[80%]', '[80%, 95%]'],
  ['cost', '1', 'bytes'],
  ['cost.bytes', 'per 4KiB', 'per 8KiB'],
  ['cost.min', '1', '2', '{ cost: { bytes: per 4KiB } }'],
  ['cost.overhead', '10', '20', '{ cost: { bytes: per 4KiB } }'],
  ['cost.payload', 'units', 'points'],
  ['cost.header', 'units', 'points'],
  ['cost.default', 'light', 'heavy', '{ cost: { topics: { a: heavy } } }'],
  ['cost.topics.a/#', 'medium', 'heavy', '{ cost: { default: light } }'],
  ['exceeded', 'drop', 'reject'],
  ['exceeded', 'throttle', '{throttle: {upTo: 30s}}'],
  ['exceeded.throttle.upTo', '30s', '1m'],
  ['exceeded.throttle.then', 'drop', 'disconnect'],
  ['exceeded.queue.max', '10', '20'],
  ['exceeded.queue.bytes', '10kB', '20kB'],
  ['exceeded.queue.order', 'priority', 'arrival'],
  ['exceeded.queue.priority.header', 'first', 'second'],
  ['exceeded.queue.priority.payload', 'first', 'second'],
  ['exceeded.queue.upTo', '30s', '1m'],
  ['exceeded.queue.then', 'drop', 'reject'],
  ['exceeded.latest.topics', '10', '20'],
  ['exceeded.latest.bytes', '10kB', '20kB'],
  ['exceeded.latest.then', 'drop', 'reject'],
  ['exceeded.degrade.sample', '10', '20'],
  ['exceeded.degrade.keep', '[a]', '[a, b]'],
  ['exceeded.degrade.strip', '[a]', '[b]'],
  ['exceeded.degrade.qos', '0', '1'],
  ['exceeded.degrade.clearRetain', 'true', 'false', '{ exceeded: { degrade: { qos: 0 } } }'],
  ['exceeded.degrade.mark', 'first', 'second'],
  ['exceeded.redirect.to', 'a/{topic}', 'b/{topic}'],
  ['exceeded.redirect.headers', 'true', 'false', '{ exceeded: { redirect: { to: "a/{topic}" } } }'],
  ['message', 'slow down', 'stop'],
  ['message.device', 'slow down', 'stop'],
  ['message.user', 'slow down', 'stop'],
  ['message.api', 'slow down', 'stop'],
  ['message.anonymous', 'slow down', 'stop'],
  ['penalties.block', '1m', '2m'],
  ['penalties.after', '3 refusals in 10s', '5 refusals in 10s', '{ penalties: { block: 1m } }'],
  ['penalties.grow', 'x2 up to 1h', 'x3 up to 1h', '{ penalties: { block: 1m } }'],
  ['penalties.per', 'client', 'user', '{ penalties: { block: 1m } }'],
  ['for.clients', '[a]', '[a, b]'],
  ['for.devices', '[a]', '[b]'],
  ['for.users', '[a]', '[b]'],
  ['for.apiKeys', '["***"]', '["***", "***"]'],
  ['for.roles', '[a]', '[b]'],
  ['for.tiers', '[free]', '[pro]'],
  ['for.ips', '[10.0.0.0/8]', '[192.0.2.1]'],
  ['when.description', 'first', 'second', '{ when: { qos: 1 } }'],
  ['when.time', '01:00-03:00', '02:00-04:00'],
  ['when.days', 'sun', 'mon'],
  ['when.zone', 'UTC', 'Asia/Tokyo', '{ when: { days: sun } }'],
  ['when.payload.field', 'a', 'b', '{ when: { payload: { equals: 1 } } }'],
  ['when.payload.equals', '1', '2', '{ when: { payload: { field: a } } }'],
  ['when.payload.in', '[1]', '[1, 2]', '{ when: { payload: { field: a } } }'],
  ['when.payload.range', '[1, 2]', '[1, 3]', '{ when: { payload: { field: a } } }'],
  ['when.payload.exists', 'true', 'false', '{ when: { payload: { field: a } } }'],
  ['when.header.name', 'a', 'b', '{ when: { header: { exists: true } } }'],
  ['when.header.equals', 'first', 'second', '{ when: { header: { name: a } } }'],
  ['when.header.in', '[first]', '[second]', '{ when: { header: { name: a } } }'],
  ['when.header.range', '[1, 2]', '[1, 3]', '{ when: { header: { name: a } } }'],
  ['when.header.exists', 'true', 'false', '{ when: { header: { name: a } } }'],
  ['when.header.secret', '***', '***', '{ when: { header: { name: a } } }'],
  ['when.size.min', '10', '1kB'],
  ['when.size.max', '10', '1kB'],
  ['when.qos', '1', '2'],
  ['when.retain', 'true', 'false'],
  ['when.will', 'true', 'false'],
  ['when.protocol', 'mqtt', 'nats'],
  ['when.all', '[{qos: 1}]', '[{qos: 1}, {retain: true}]'],
  ['when.any', '[{qos: 1}, {qos: 2}]', '[{qos: 1}, {retain: true}]'],
  ['when.not.qos', '1', '2'],
]

const EXEMPTION_ROWS: readonly Row[] = [
  ['description', 'first', 'second'],
  ['enabled', 'true', 'false'],
  ['priority', '1', '2'],
  ['topics', '[a/#]', '[a/#, b]'],
  ['clients', '[a]', '[b]'],
  ['devices', '[a]', '[b]'],
  ['users', '[a]', '[b]'],
  ['apiKeys', '["***"]', '["***", "***"]'],
  ['roles', '[a]', '[b]'],
  ['ips', '[10.0.0.0/8]', '[192.0.2.1]'],
  ['on', 'publish', 'subscribe'],
  ['limit', '10/s per client', '20/s per client'],
  ['when.days', 'sun', 'mon'],
]

const POLICY_ROWS: readonly Row[] = [
  ['$schema', 'a.json', 'b.json'],
  ['version', 'none', '1'],
  ['description', 'first', 'second'],
  ['dialect', 'mqtt', 'nats'],
  ['shadow', 'true', '90%'],
  ['store', 'memory', 'sqlite:a.db'],
  ['store.url', 'redis://a', 'redis://b'],
  ['store.prefix', 'a', 'b', '{ store: { url: "redis://a" } }'],
  ['store.timeout', '100ms', '200ms', '{ store: { url: "redis://a" } }'],
  ['store.lease', 'auto', 'none', '{ store: { url: "redis://a", nodes: 2 } }'],
  ['store.lease.units', '10', '20', '{ store: { url: "redis://a", nodes: 2 } }'],
  ['store.lease.ttl', '1s', '2s', '{ store: { url: "redis://a", nodes: 2, lease: { units: 10 } } }'],
  ['store.nodes', '2', '3', '{ store: { url: "redis://a" } }'],
  ['store.fallback', 'allow', 'deny', '{ store: { url: "redis://a" } }'],
  ['store.breaker.threshold', '2', '3', '{ store: { url: "redis://a" } }'],
  ['store.breaker.recovery', '1s', '2s', '{ store: { url: "redis://a" } }'],
  ['store.breaker.health', '1s', '2s', '{ store: { url: "redis://a" } }'],
  ['senders.client', '{user}', '{ip}'],
  ['senders.user', '{client}', '{ip}'],
  ['senders.device', '{client}', '{user}'],
  ['senders.apiKey', '{user}', '{client}'],
  ['senders.tier', '{user}', '{client}'],
  ['senders.roles', '{user}', '{client}'],
  ['senders.roles.from', '{user}', '{client}', '{ senders: { roles: { map: { a: [b] } } } }'],
  ['senders.roles.map.a', '[b]', '[c]', '{ senders: { roles: { from: "{user}" } } }'],
  ['tiers.gold.limit', '10/s', '20/s'],
  ['tiers.gold.cost', 'x0.5', 'x0.8'],
  ['tiers.assign.from', '{user}', '{client}'],
  ['tiers.assign.default', 'free', 'pro', '{ tiers: { assign: { from: "{user}" } } }'],
  [
    'adaptive.levels.low',
    '1.5 up to 30%',
    '1.2 up to 30%',
    '{ adaptive: { levels: { low: 1, high: 0.5 } } }',
  ],
  ['adaptive.stages', 'default', '{cpu: {60%: 0.75}}'],
  ['adaptive.stages.cpu.60%', '0.75', '0.5'],
  ['adaptive.signals', '[cpu]', '[cpu, {queue-depth: 100}]'],
  ['adaptive.signals', '[{consumer-lag: 100}]', '[{consumer-lag: 200}]', '{ dialect: nats }'],
  ['adaptive.every', '1s', '2s'],
  ['adaptive.across', 'fleet', 'node', '{ store: "redis://a" }'],
  ['adaptive.node', 'a', 'b', '{ store: "redis://a", adaptive: { across: fleet } }'],
  ['feedback.by', 'aimd', 'gradient'],
  ['feedback.latency', '100ms', '200ms'],
  ['feedback.from', '5/s', '6/s'],
  ['feedback.upTo', '1000/s', '2000/s'],
  ['feedback.start', '100/s', '200/s'],
  ['feedback.every', '1s', '2s'],
  ['feedback.topic', 'a/#', 'b/#'],
  ['feedback.exceeded', 'throttle', 'drop'],
  ['breaker.topic', 'a/#', 'b/#'],
  ['breaker.per', 'topic', 'client'],
  ['breaker.failures', '50%', '80%'],
  ['breaker.over', '10s', '20s'],
  ['breaker.least', '10', '20'],
  ['breaker.open', '5s', '6s'],
  ['breaker.exceeded', 'drop', 'reject'],
  ['penalties.block', '1m', '2m'],
  ['penalties.after', '3 refusals in 10s', '5 refusals in 10s', '{ penalties: { block: 1m } }'],
  ['penalties.grow', 'x2 up to 1h', 'x3 up to 1h', '{ penalties: { block: 1m } }'],
  ['penalties.per', 'client', 'user', '{ penalties: { block: 1m } }'],
  ['penalties.flapping', '5 connects in 10s', '6 connects in 10s', '{ penalties: { block: 1m } }'],
  ['behaviour.good', '1.2', '1.3'],
  ['behaviour.abusive', '0.3', '0.4'],
  ['behaviour.per', 'client', 'user', '{ behaviour: { good: 1.2 } }'],
]

type Fields = Record<string, unknown>

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Returns the fields of both; null takes a field away. */
function merge(one: Fields, other: Fields): Fields {
  const merged = { ...one }
  for (const [key, value] of Object.entries(other)) {
    const before = merged[key]
    if (value === null) delete merged[key]
    else merged[key] = isFields(before) && isFields(value) ? merge(before, value) : value
  }
  return merged
}

let secrets = 0

const createSecret = (): string => `a-secret-of-many-characters-${secrets++}`

/** Returns what is written as `***` as a secret, a new one each time. */
function parseValue(written: string): unknown {
  if (written === 'none') return null
  if (written === '***') return createSecret()
  return parse(written.startsWith('{') && !written.includes(':') ? `"${written}"` : written, (_key, value) =>
    value === '***' ? createSecret() : (value as unknown),
  )
}

function fieldsOf(word: string, value: unknown): Fields {
  const path = word.split('.')
  return path.reduceRight((inner: unknown, key) => ({ [key]: inner }), value) as Fields
}

const AREAS = [
  {
    area: 'rule',
    rows: RULE_ROWS,
    subject: 'rule a: ',
    base: { limit: '1/s' },
    build: (fields: Fields): Fields => ({ rules: [{ name: 'a', ...fields }] }),
  },
  {
    area: 'exemption',
    rows: EXEMPTION_ROWS,
    subject: 'exemption a: ',
    base: { clients: ['c'] },
    build: (fields: Fields): Fields => ({ exempt: [{ name: 'a', ...fields }] }),
  },
  {
    area: 'policy',
    rows: POLICY_ROWS,
    subject: '',
    base: { rules: [{ name: 'a', limit: '1/s' }] },
    build: (fields: Fields): Fields => fields,
  },
] as const

const CASES = AREAS.flatMap(({ rows, base, build, subject, area }) =>
  rows.map(([word, old, now, context = '{}']) => {
    const around = merge(base, parse(context) as Fields)
    const [before, after] = [old, now].map(value => build(merge(around, fieldsOf(word, parseValue(value)))))
    const line = `~ ${subject}${word} ${old} → ${now}`
    return { title: `${area}: ${word} ${old} → ${now}`, before: before!, after: after!, line }
  }),
)

interface Schema {
  readonly $ref?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | boolean
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly $defs?: Readonly<Record<string, Schema>>
}

const SCHEMA = policyJsonSchema() as Schema

/**
 * Adds the words of a schema, as `rule.cost.min`, with `*` for names that authors choose; with a value only those that it
 * uses. What a schema names, as `condition`, begins a path of its own.
 */
function addWords(words: Set<string>, schema: Schema, path: string, value?: unknown): void {
  const { $ref, properties = {}, additionalProperties, items, anyOf = [] } = schema
  const isAll = value === undefined
  if ($ref !== undefined) {
    const name = $ref.split('/').at(-1)!
    if (isAll && words.has(name)) return
    words.add(name)
    addWords(words, SCHEMA.$defs![name]!, name, value)
  }
  const used = isFields(value) ? Object.keys(value) : []
  const others = used.filter(key => !Object.hasOwn(properties, key))
  const inner: readonly (readonly [word: string, schema: Schema | boolean | undefined, key: string])[] = [
    ...Object.entries(properties).map(([key, each]) => [key, each, key] as const),
    ...(isAll ? ['*'] : others).map(key => ['*', additionalProperties, key] as const),
  ]
  for (const [word, each, key] of inner) {
    if (typeof each !== 'object' || !(isAll || used.includes(key))) continue
    words.add(`${path}.${word}`)
    addWords(words, each, `${path}.${word}`, isFields(value) ? value[key] : undefined)
  }
  if (items !== undefined) {
    const entries = Array.isArray(value) ? value : []
    for (const entry of isAll ? [undefined] : entries) addWords(words, items, path, entry)
  }
  for (const each of anyOf) addWords(words, each, path, value)
}

describe('a change of a word', () => {
  it.each(CASES)('is told in words: $title', async ({ before, after, line }) => {
    expect(await compare(before, after)).toEqual([line])
  })

  it.each(['rules', 'exempt'])('keeps secrets that other words make one, of %s', async list => {
    const policy = (secret: string): object => ({
      senders: { roles: { from: '{header.api-key}', map: { [`key-${secret}`]: ['admin'] } } },
      rules: [{ name: 'other', limit: '1/s' }],
      [list]: [
        {
          name: 'a',
          when: { header: { name: 'authorization', equals: secret } },
          ...(list === 'rules' ? { limit: '1/s' } : {}),
        },
      ],
    })
    const lines = await compare(policy('first-secret'), policy('second-secret'))
    expect(lines).toEqual([
      `~ ${list === 'rules' ? 'rule' : 'exemption'} a: when.header.equals *** → ***`,
      expect.stringMatching(
        /^~ senders\.roles\.map \{"?\*\*\*1"?: \[admin\]\} → \{"?\*\*\*1"?: \[admin\]\}$/,
      ),
    ])
  })

  it('is tried for every word of the schema', () => {
    const [all, tried] = [new Set<string>(), new Set<string>()]
    addWords(all, SCHEMA, '')
    for (const { before, after } of CASES)
      for (const each of [before, after]) addWords(tried, SCHEMA, '', each)
    expect([...all].filter(word => !tried.has(word))).toEqual([])
    expect(all.size).toBeGreaterThan(150)
  })
})

describe('a difference', () => {
  it('of a long text or list is shown, however far behind its beginning', async () => {
    const policy = (word: string): object => ({
      description: `${'long '.repeat(100)}${word} end`,
      exempt: [{ name: 'a', topics: [...Array.from({ length: 100 }, (_, n) => `topic/${n}`), word] }],
      rules: [],
    })
    const lines = await compare(policy('first'), policy('second'))
    expect(lines).toEqual([
      expect.stringMatching(/^~ exemption a: topics ….{40}first\] → ….{40}second\]$/),
      expect.stringMatching(/^~ description ….{40}first end → ….{40}second end$/),
    ])
    const longer = await compare(
      { description: 'x'.repeat(300), rules: [] },
      { description: 'x'.repeat(301), rules: [] },
    )
    expect(longer).toEqual([`~ description …${'x'.repeat(40)} → …${'x'.repeat(41)}`])
  })

  it('of exemptions without a name is not their place in the list', async () => {
    const policy = (...topics: readonly string[]): object => ({
      exempt: topics.map(topic => ({ topics: [topic] })),
      rules: [],
    })
    expect(await compare(policy('a', 'b'), policy('b', 'a'))).toEqual(['no differences'])
    expect(await compare(policy('a', 'b'), policy('new', 'a', 'b'))).toEqual([
      '+ exemption exempt[0]: new: topics [new]',
    ])
    expect(await compare(policy('a', 'b'), policy('b'))).toEqual(['- exemption exempt[0]: gone: topics [a]'])
    expect(await compare(policy('a'), policy('b'))).toEqual(['~ exemption exempt[0]: topics [a] → [b]'])
  })
})
