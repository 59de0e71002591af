import type { Random } from '../support/random.ts'
import { type After, type Event, FULL, type History } from './history.ts'
import type {
  Action,
  ConditionWords,
  ExemptionWords,
  MessageWords,
  Policy,
  RuleWords,
  SenderListWords,
  SenderWords,
  Subject,
} from './policy.ts'

/** A history that is being made. */
interface Draft {
  readonly random: Random
  readonly policy: Policy
  readonly senders: SenderWords[]
  readonly actions: Action[]
  /** Whether the clock may step back. */
  stepsBack: boolean
  /** How many messages there are. */
  messages: number
  /** Changes a message before it is sent. */
  readonly decorate: ((message: Writable<MessageWords>) => void)[]
  /** What happens between messages. */
  readonly between: (() => Event | undefined)[]
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] }

const TOPICS = ['fleet/a/d1/telemetry', 'fleet/a/d2/event', 'fleet/b/d1/telemetry', 'jobs/x'] as const
const PATTERNS = [
  undefined,
  'fleet/#',
  'fleet/{site}/#',
  'fleet/{site}/{device}/telemetry',
  '+/+/+/event',
] as const
const RATES = ['2/min', '1/s', '3 per 7s', '3/h', '2 per 13s', '2/s', '3 per 1000ms', '1 per 90s'] as const
const LOG_RATES = ['2/min', '1/s', '3 per 7s', '3/h'] as const
/** Later than any run of this test: what other programs end by their own clock, they do not end within it. */
const STARTS_MS = [
  Date.UTC(2040, 2, 25, 0, 59, 59),
  Date.UTC(2040, 5, 30, 23, 59, 59, 990),
  Date.UTC(2040, 8, 12, 7),
  Date.UTC(2040, 10, 4, 5, 30, 0, 123),
] as const
const HARD = ['drop', 'reject', 'disconnect', 'retry', 'throttle', 'queue', 'latest', 'redirect'] as const

/** A word of the documentation, as it is added to a history. */
export type Feature = (draft: Draft) => void

function addRule(draft: Draft, words: Partial<RuleWords> = {}): RuleWords {
  const { random, policy } = draft
  const isCounted = words.quota === undefined && words.maxSize === undefined
  const limit = isCounted ? { limit: random.pick(RATES) } : {}
  const rule: RuleWords = { name: `r${policy.rules.length + 1}`, ...limit, ...words }
  const topic = random.pick(PATTERNS)
  if (topic !== undefined && rule.topic === undefined) rule.topic = topic
  if (rule.per === undefined && rule.maxSize === undefined && random.chance(0.7)) rule.per = 'client'
  policy.rules.push(rule)
  return rule
}

/** A rule for a word that only some rules can have; one more if there is none. */
function ruleFor(draft: Draft, fits: (rule: RuleWords) => boolean = () => true): RuleWords {
  const fitting = draft.policy.rules.filter(fits)
  return fitting.length > 0 && draft.random.chance(0.8) ? draft.random.pick(fitting) : addRule(draft)
}

const isBucket = (rule: RuleWords): boolean =>
  rule.limit !== undefined && rule.algorithm === undefined && !rule.limit.includes('burst')

function subject(random: Random): Subject {
  const clients = random.pick([{ client: 'c1' }, { client: 'c2' }] as const)
  return random.pick([clients, clients, { user: 'u1' }, { apiKey: 'k1' }, { ip: '10.0.0.0/24' }] as const)
}

function lists(random: Random): Partial<ExemptionWords> {
  return random.pick<Partial<ExemptionWords>>([
    { clients: ['c1'] },
    { users: ['u1'] },
    { roles: ['admin'] },
    { ips: ['10.0.0.0/24'] },
    { topics: ['fleet/a/#'] },
    { clients: ['c2'], topics: ['jobs/#'] },
    { apiKeys: ['k1'], devices: ['dev1'] },
  ])
}

function addExemption(draft: Draft, words: Partial<ExemptionWords>): ExemptionWords {
  draft.policy.exempt ??= []
  const exemption = { name: `e${draft.policy.exempt.length + 1}`, ...words }
  draft.policy.exempt.push(exemption)
  return exemption
}

function boundOf(random: Random): string {
  return random.pick(['2/min per client', '1/s', '3/h per user', '1 per 13s burst 2 per client'])
}

function ruleNames(draft: Draft): string[] | undefined {
  return draft.random.chance(0.5) ? [draft.random.pick(draft.policy.rules).name] : undefined
}

/** Rules that a rate of any period can be given to: no quotas of calendar windows. */
function ratedNames({ random, policy }: Draft): string[] | undefined {
  const names = policy.rules.filter(({ limit }) => limit !== undefined).map(({ name }) => name)
  return names.length > 0 && random.chance(0.5) ? [random.pick(names)] : undefined
}

function addOverride(draft: Draft, limit: string): void {
  const { random } = draft
  draft.between.push(() => {
    const rules = limit.startsWith('x') || limit === 'unlimited' ? ruleNames(draft) : ratedNames(draft)
    const during = random.chance(0.3) ? { for: random.pick([1_000, 30_000, 600_000]) } : {}
    const whom = subject(random)
    const [[part, text]] = Object.entries(whom) as [[string, string]]
    if (random.chance(0.2)) return { after: 0, do: 'remove', list: 'overrides', id: `${part}:${text}` }
    const words = { ...whom, limit, reason: 'test', ...(rules && { rules }), ...during }
    return { after: 0, do: 'override', words }
  })
}

function condition(random: Random): ConditionWords {
  return random.pick<() => ConditionWords>([
    () => ({ size: { min: 5 } }),
    () => ({ size: { max: '1kB' } }),
    () => ({ qos: [1, 2] }),
    () => ({ retain: true }),
    () => ({ will: true }),
    () => ({ payload: { field: 'priority', equals: 'high' } }),
    () => ({ payload: { field: 'units', range: [2, null] } }),
    () => ({ payload: { field: 'priority', exists: false } }),
    () => ({ header: { name: 'x-kind', in: ['a', 'b'] } }),
    () => ({ protocol: 'mqtt' }),
    () => ({ not: { qos: [0] } }),
    () => ({ any: [{ retain: true }, { payload: { field: 'units', equals: 2 } }] }),
    () => ({ all: [{ size: { min: 1 } }, { qos: [0, 1] }] }),
    () => ({ time: '06:00-18:30' }),
    () => ({ time: '22:00-06:00', days: 'mon-fri', zone: 'Europe/Berlin' }),
  ])()
}

/** Every word of the documentation that changes a decision. */
export const FEATURES: Readonly<Record<string, Feature>> = {
  algorithm: draft => {
    const { random } = draft
    const algorithm = random.pick(['leaky-bucket', 'fixed-window', 'sliding-log', 'sliding-counter'] as const)
    addRule(draft, { algorithm, limit: random.pick(LOG_RATES) })
  },
  burst: draft => {
    ruleFor(draft, isBucket).limit += ` burst ${draft.random.pick([1, 2, 3, 5])}`
  },
  initial: draft => {
    const { random } = draft
    const limit = random.pick(['1/s burst 4', '2/min burst 5', '1 per 13s burst 4', '3/h burst 5'])
    addRule(draft, { limit, initial: random.pick([0, 0, 1]) })
  },
  cost: draft => {
    const { random } = draft
    const rule = ruleFor(draft, ({ cost }) => cost === undefined)
    rule.cost = random.pick([
      2,
      0.5,
      0,
      'medium',
      'bytes',
      { payload: 'units' },
      { header: 'x-cost' },
    ] as const)
    if (rule.limit?.includes('burst') === false && rule.algorithm === undefined && random.chance(0.7)) {
      rule.limit += ' burst 20'
    }
  },
  'cost in full': draft => {
    const { random } = draft
    const rule = ruleFor(draft, ({ cost, limit }) => cost === undefined && limit?.includes('B/') !== true)
    rule.cost = random.pick([
      { bytes: 'per 8', overhead: 3 },
      { bytes: 'per 16', min: 2 },
      { bytes: 'message' },
      { bytes: 'payload', overhead: 2, min: 0 },
      { bytes: 'per 10', min: 0.5 },
      { payload: 'units', min: 0 },
      { payload: 'units', min: 2 },
      { header: 'x-cost', min: 0.25 },
    ] as const)
    if (rule.limit?.includes('burst') === false && rule.algorithm === undefined && random.chance(0.7)) {
      rule.limit += ' burst 20'
    }
  },
  'cost by topic': draft => {
    const topics = { 'fleet/a/#': 2, 'fleet/+/d1/#': 'medium', 'jobs/#': 0 } as const
    const rule = ruleFor(draft, ({ cost }) => cost === undefined)
    rule.cost = { topics, ...(draft.random.chance(0.5) ? { default: 3 } : {}) }
  },
  tiers: draft => {
    const { random } = draft
    const limit = (): string => random.pick(['2/min burst 3', '1/s', '20/h burst 4', 'unlimited'])
    draft.policy.tiers ??= {}
    draft.policy.tiers.gold = { limit: limit(), cost: random.pick(['x0.5', 'x1', 'x0.25', 'x0.333']) }
    draft.policy.tiers.slow = { limit: limit(), cost: random.pick(['x1.5', 'x2', 'x1']) }
    if (random.chance(0.5)) draft.policy.tiers.free = { limit: limit() }
    for (const [index, sender] of draft.senders.entries()) {
      const tier = random.pick([undefined, 'gold', 'slow', 'free', 'invented'] as const)
      if (tier !== undefined) draft.senders[index] = { ...sender, tier }
    }
  },
  'tier assignment': draft => {
    const { random } = draft
    draft.policy.tiers ??= {}
    draft.policy.tiers.bronze ??= { limit: '3/min', cost: 'x1' }
    const from = random.chance(0.5) ? { from: '{header.tier}' } : {}
    draft.policy.tiers.assign = { ...from, ...(random.chance(0.6) ? { default: 'bronze' } : {}) }
    draft.decorate.push(message => {
      const tier = random.pick([undefined, 'bronze', 'free', 'invented'] as const)
      if (tier !== undefined) message.headers = { ...message.headers, tier }
    })
    if (random.chance(0.5)) addRule(draft, { per: 'tier' })
  },
  'tiers given': draft => {
    const { random } = draft
    draft.policy.tiers ??= {}
    draft.policy.tiers.silver ??= { limit: '2/min', cost: 'x0.5' }
    draft.between.push(() => ({
      after: 0,
      do: 'tier',
      words: { ...subject(random), tier: random.pick(['silver', 'free']), reason: 'test' },
    }))
  },
  priorities: draft => {
    const { random } = draft
    addRule(draft, { priority: random.pick([-1, 1, 2]), exceeded: 'drop' })
    for (const exemption of draft.policy.exempt ?? []) exemption.priority = random.int(-1, 1)
    if (random.chance(0.5)) addExemption(draft, { ...lists(random), priority: random.pick([-1, 1]) })
  },
  disabled: draft => {
    addRule(draft, { enabled: false, limit: '1/h' })
    const exemption = addExemption(draft, { ...lists(draft.random), enabled: false })
    if (draft.random.chance(0.5)) exemption.limit = '1/h'
  },
  shadow: draft => {
    const rule = ruleFor(draft)
    rule.shadow = draft.random.pick([true, true, '30%', '50%', '70%'])
    if (draft.policy.rules.every(({ shadow }) => shadow === true) && draft.random.chance(0.7)) addRule(draft)
  },
  'policies in shadow': draft => {
    draft.policy.shadow = draft.random.pick([true, '50%', '70%', '90%'])
    if (draft.random.chance(0.5)) ruleFor(draft).shadow = draft.random.pick([false, '50%'])
  },
  degrade: draft => {
    ruleFor(draft, ({ exceeded }) => exceeded === undefined).exceeded = 'degrade'
    if (draft.random.chance(0.5)) addRule(draft)
  },
  outcomes: draft => {
    for (const rule of draft.policy.rules) rule.exceeded ??= draft.random.pick(HARD)
    addRule(draft, { exceeded: draft.random.pick(HARD) })
  },
  exemptions: draft => {
    addExemption(draft, lists(draft.random))
  },
  'bounded exemptions': draft => {
    addExemption(draft, { ...lists(draft.random), limit: boundOf(draft.random) })
  },
  conditions: draft => {
    const exemption = addExemption(draft, { when: condition(draft.random) })
    if (draft.random.chance(0.4)) Object.assign(exemption, lists(draft.random))
    if (draft.random.chance(0.3)) exemption.limit = boundOf(draft.random)
  },
  'conditions of rules': draft => {
    const rule = ruleFor(draft, ({ when }) => when === undefined)
    rule.when = condition(draft.random)
    if (draft.random.chance(0.5)) addRule(draft, { when: condition(draft.random) })
    else if (draft.policy.rules.length === 1) addRule(draft)
  },
  'rules for some': draft => {
    const { random } = draft
    const lists = (): SenderListWords =>
      random.pick<() => SenderListWords>([
        () => ({ clients: ['c1', 'c3'] }),
        () => ({ users: ['u1', 'u9'] }),
        () => ({ roles: ['admin', 'ops'] }),
        () => ({ ips: ['10.0.0.0/24'] }),
        () => ({ tiers: ['gold', 'bronze', 'silver'] }),
        () => ({ devices: ['dev1', 'c2'], apiKeys: ['u2'] }),
        () => ({ apiKeys: ['k1'], tiers: ['free'] }),
        () => ({ users: ['u2'], roles: ['admin'] }),
      ])()
    ruleFor(draft, words => words.for === undefined).for = lists()
    addRule(draft, random.chance(0.6) ? { for: lists() } : {})
  },
  'run-time exemptions': draft => {
    const { random } = draft
    let count = 0
    draft.between.push(() => {
      count++
      if (count > 1 && random.chance(0.4)) {
        return { after: 0, do: 'remove', list: 'exemptions', id: `x${count - 1}` }
      }
      const words = { name: `x${count}`, ...lists(random), reason: 'test' }
      const bound = random.chance(0.5) ? { limit: boundOf(random) } : {}
      const during = random.chance(0.3) ? { for: random.pick([1_000, 60_000]) } : {}
      return { after: 0, do: 'exempt', words: { ...words, ...bound, ...during } }
    })
  },
  'override by a factor': draft => addOverride(draft, draft.random.pick(['x2', 'x5', 'x0.5', 'x1.5'])),
  'override by a rate': draft =>
    addOverride(draft, draft.random.pick(['3/min', '2/s', '1/s', '2/min burst 4', '3/day'])),
  'override unlimited': draft => addOverride(draft, 'unlimited'),
  bans: draft => {
    const { random } = draft
    draft.between.push(() => {
      const whom = subject(random)
      const [[part, text]] = Object.entries(whom) as [[string, string]]
      if (random.chance(0.3)) return { after: 0, do: 'remove', list: 'bans', id: `${part}:${text}` }
      const outcome = random.chance(0.5) ? { outcome: random.pick(['drop', 'disconnect'] as const) } : {}
      const during = random.chance(0.7) ? { for: random.pick([1, 5_000, 60_000]) } : {}
      return { after: 0, do: 'ban', words: { ...whom, ...outcome, ...during, reason: 'test' } }
    })
  },
  penalties: draft => {
    const { random } = draft
    const after = random.pick(['2 refusals in 10s', '1 refusals in 1s', '3 refusals in 1m'])
    const grow = random.chance(0.5) ? { grow: 'x2 up to 5m' } : {}
    const words = { block: random.pick(['5s', '60s', '250ms']), after, ...grow }
    if (random.chance(0.7)) draft.policy.penalties = { ...draft.policy.penalties, ...words }
    else ruleFor(draft).penalties = { ...words, per: random.pick(['client', 'user', 'ip'] as const) }
  },
  flapping: draft => {
    const { random } = draft
    const flapping = random.pick([
      '2 connects in 10s',
      '3 connects in 1m',
      ['2 connects in 1s', '4 connects in 1h per ip'],
    ])
    draft.policy.penalties = { block: '30s', ...draft.policy.penalties, flapping }
    draft.actions.push('connect', 'connect')
  },
  behaviour: draft => {
    const { random } = draft
    draft.policy.behaviour = random.chance(0.5) ? {} : { good: 1.5, abusive: 0.5 }
    if (random.chance(0.6)) draft.policy.rules[0]!.limit = '1/h burst 10'
    draft.messages = 26
    draft.senders.length = random.pick([1, 2])
  },
  adaptive: draft => {
    const { random } = draft
    const levels = { low: '1.5 up to 30%', medium: '1 up to 70%', high: 0.5 }
    draft.policy.adaptive = { levels, signals: [{ 'queue-depth': FULL }], every: '10s' }
    draft.between.push(() => ({ after: 0, do: 'load', depth: random.pick([0, 25, 29, 50, 65, 69, 90, 500]) }))
  },
  'calendar quotas': draft => {
    const { random } = draft
    const quota = random.pick([
      ...['2/day', '3/week', '2/month', '5/year'],
      ...['2/month from day 31', '3/month from day 15', '3/week from sunday', '2/week from thursday'],
    ])
    addRule(draft, { quota, zone: random.pick(['Europe/Berlin', 'UTC', 'America/New_York']) })
  },
  'rolling quotas': draft => {
    addRule(draft, { quota: draft.random.pick(['2/day', '3 per 5 minutes']), window: 'rolling' })
  },
  actions: draft => {
    const { random } = draft
    const on = random.pick(['subscribe', 'connect', 'deliver'] as const)
    draft.actions.push(on, on)
    addRule(draft, { on, topic: undefined as never })
    delete draft.policy.rules.at(-1)!.topic
    for (const exemption of draft.policy.exempt ?? []) {
      if (random.chance(0.3)) exemption.on = [on, 'publish']
    }
  },
  scopes: draft => {
    const { random } = draft
    const scopes = [
      'user',
      'apiKey',
      'role',
      'ip',
      'ip/24',
      'topic',
      'pattern',
      'header.x-kind',
      'device',
      'tier',
      'global',
    ]
    const per = random.pick([...scopes, 'site'])
    const rule = addRule(draft, per === 'site' ? { topic: 'fleet/{site}/#', per } : { per })
    if (random.chance(0.4)) rule.per = [per, random.pick(scopes)]
  },
  senders: draft => {
    const { random } = draft
    const names = { user: '{header.x-user}', device: '{client}', apiKey: '{user}' }
    const part = random.pick(['user', 'device', 'apiKey'] as const)
    draft.policy.senders = { [part]: names[part] }
    if (random.chance(0.4))
      draft.policy.senders.roles = { from: '{user}', map: { u1: ['admin'], u9: ['ops', 'admin'] } }
    addRule(draft, { per: random.pick([part, 'role']) })
    draft.decorate.push(message => {
      if (random.chance(0.5)) message.headers = { ...message.headers, 'x-user': random.pick(['u1', 'u9']) }
    })
  },
  reload: draft => {
    const { random } = draft
    draft.between.push(() => {
      const policy = structuredClone(draft.policy)
      for (const rule of policy.rules) {
        if (rule.maxSize === undefined && random.chance(0.6)) changeNumbers(rule, random)
      }
      return { after: 0, do: 'apply', policy }
    })
  },
  reset: draft => {
    draft.between.push(() => {
      if (draft.random.chance(0.3)) return { after: 0, do: 'reset' }
      return { after: 0, do: 'reset', rule: draft.random.pick(draft.policy.rules).name }
    })
  },
  peek: draft => {
    draft.between.push(() => ({ after: 0, do: 'peek', message: roll(draft) }))
    draft.between.push(() => ({ after: 0, do: 'peek', message: roll(draft) }))
  },
  'time steps': draft => {
    draft.stepsBack = true
  },
  // Last: words of the others have no place in such a rule.
  'maximum sizes': draft => {
    const { random } = draft
    for (let count = random.int(1, 2); count > 0; count--) {
      addRule(draft, {
        maxSize: random.pick([0, 1, 5, '4B']),
        exceeded: random.pick(['drop', 'reject', 'disconnect', 'redirect', 'degrade'] as const),
        ...(random.chance(0.3) ? { when: condition(random) } : {}),
        ...(random.chance(0.2) ? { for: { clients: ['c1', 'c3'] } } : {}),
        ...(random.chance(0.3) ? { shadow: random.pick([true, '50%']) } : {}),
        ...(random.chance(0.3) ? { priority: random.pick([-1, 1]) } : {}),
      })
    }
  },
}

/** Other counts and bursts, as an operator changes them. */
function changeNumbers(rule: RuleWords, random: Random): void {
  const word = rule.quota === undefined ? 'limit' : 'quota'
  rule[word] = rule[word]!.replace(/^\d+/, () => String(random.int(1, 4)))
  if (rule.initial === undefined) {
    rule[word] = rule[word].replace(/burst \d+/, () => `burst ${random.pick([1, 2, 4, 20])}`)
  }
  const isSteady = rule.algorithm === undefined || rule.algorithm === 'leaky-bucket'
  // What is used of a bucket is a number of units, whatever the period.
  if (word === 'limit' && isSteady && random.chance(0.3)) {
    rule.limit = rule.limit!.replace(/\/(s|min|h)/, () => random.pick(['/s', '/min', '/h', '/d']))
  }
}

/** A history of the features named. */
export function rollHistory(names: readonly string[], random: Random): History {
  const senders: SenderWords[] = [
    { client: 'c1', user: 'u1', ip: '10.0.0.7', roles: ['admin'] },
    { client: 'c2', user: 'u2', apiKey: 'k1', ip: '10.0.1.7', device: 'dev1' },
    { client: 'c3', ip: '10.0.0.8', ...(random.chance(0.3) ? { user: '' } : {}) },
  ]
  const plain = { decorate: [], between: [], actions: ['publish' as Action], stepsBack: false }
  const draft: Draft = { ...plain, random, policy: { version: 1, rules: [] }, senders, messages: 12 }
  addRule(draft)
  // What changes others comes after what adds them.
  const order = Object.keys(FEATURES)
  for (const name of names.toSorted((a, b) => order.indexOf(a) - order.indexOf(b))) FEATURES[name]!(draft)
  const startMs = random.pick(STARTS_MS)
  return { policy: draft.policy, startMs, events: rollEvents(draft) }
}

function rollEvents(draft: Draft): readonly Event[] {
  const { random } = draft
  const events: Event[] = []
  let message = roll(draft)
  for (let count = 0; count < draft.messages; count++) {
    if (draft.between.length > 0 && random.chance(0.35)) {
      const event = random.pick(draft.between)()
      if (event !== undefined) events.push({ ...event, after: random.chance(0.5) ? 0 : rollAfter(draft) })
    }
    // The same message again, at the edges of what was said of it.
    if (random.chance(0.25)) {
      const word = random.pick(['retry', 'reset'] as const)
      events.push({ after: `before ${word}`, do: 'check', message }, { after: 1, do: 'check', message })
      continue
    }
    if (random.chance(0.6)) message = roll(draft)
    const isFresh = random.chance(0.3)
    events.push({ after: rollAfter(draft), do: 'check', message, ...(isFresh ? { isFresh } : {}) })
  }
  return events
}

function rollAfter({ random, stepsBack }: Draft): After {
  if (stepsBack && random.chance(0.25)) return -random.pick([1, 500, 5_000, 60_000])
  if (random.chance(0.4)) return 0
  return random.pick<After>([
    1,
    333,
    500,
    999,
    1_000,
    6_500,
    15_000,
    29_999,
    60_000,
    1_200_000,
    'retry',
    'reset',
    'before reset',
  ])
}

function roll({ random, senders, actions, decorate }: Draft): MessageWords {
  const on = random.pick(actions)
  const message: Writable<MessageWords> = {
    topic: on === 'connect' ? 'connect' : random.pick(TOPICS),
    on,
    sender: random.pick(senders),
    size: random.pick([0, 1, 5, 20]),
    qos: random.pick([0, 1, 2] as const),
    protocol: 'mqtt',
  }
  if (random.chance(0.2)) message.retain = true
  if (on === 'publish' && random.chance(0.1)) message.will = true
  if (random.chance(0.6)) {
    const units = random.pick([1, 2, 0, -1, 2.5, 'x', '3', ''])
    message.payload = random.chance(0.5) ? { units, priority: random.pick(['high', 'low']) } : { units }
  }
  if (random.chance(0.5)) {
    message.headers = {
      'x-kind': random.pick(['a', 'b', 'c']),
      'x-cost': random.pick(['1', '3', 'many', '-2', '0.25']),
    }
  }
  for (const decorated of decorate) decorated(message)
  return message
}
