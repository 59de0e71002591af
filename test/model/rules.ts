import { fieldOf } from './conditions.ts'
import type { Numbers } from './counter.ts'
import { type Fraction, ofThousandths } from './fraction.ts'
import type {
  Action,
  BytesCostWords,
  ConditionWords,
  CostWord,
  CostWords,
  MessageWords,
  PenaltyWords,
  Policy,
  RuleWords,
  SenderListWords,
} from './policy.ts'
import { matchTopic } from './topics.ts'
import { type Rate, readBytes, readRate } from './units.ts'

/** What decides of a denial's outcome, the mildest first. */
const OUTCOMES = [
  'deliver',
  'degrade',
  'latest',
  'throttle',
  'queue',
  'retry',
  'redirect',
  'drop',
  'reject',
  'disconnect',
]

export function harshness(outcome: string): number {
  return OUTCOMES.indexOf(outcome)
}

/** A rule, a tier's limit or an exemption's limit, read. */
export interface Rule {
  readonly name: string
  readonly on: Action
  readonly topic: string | undefined
  readonly per: readonly string[]
  /** Undefined if unlimited. */
  readonly numbers: Numbers | undefined
  readonly cost: CostWords
  readonly outcome: string
  readonly isShadow: boolean
  /** The share of senders it is in shadow for, if not all or none. */
  readonly shadowShare?: number | undefined
  readonly isQuota: boolean
  /** Neither load nor behaviour change it. */
  readonly isFixed: boolean
  readonly penalties: PenaltyWords | undefined
  /** The messages it is for. */
  readonly when: ConditionWords | undefined
  /** The senders it is for. */
  readonly senders: SenderListWords | undefined
}

const COSTS: Readonly<Record<CostWord, number>> = { light: 1, medium: 5, heavy: 10, premium: 50 }

export function readRule(words: RuleWords): Rule {
  const rate = readRate(words.limit ?? words.quota!)
  const isQuota = words.quota !== undefined
  const rolling = words.window === 'rolling'
  const algorithm = isQuota ? (rolling ? 'sliding-log' : 'quota') : (words.algorithm ?? 'token-bucket')
  const zone = words.zone ?? 'UTC'
  return {
    name: words.name,
    on: words.on ?? 'publish',
    topic: words.topic,
    per: words.per === undefined ? ['global'] : typeof words.per === 'string' ? [words.per] : words.per,
    numbers: numbersOf(rate, algorithm, words.initial, algorithm === 'quota' ? zone : undefined),
    cost: words.cost ?? (rate.isBytes ? 'bytes' : 1),
    outcome: words.exceeded ?? 'reject',
    ...readShadow(words),
    isQuota,
    isFixed: isQuota,
    penalties: words.penalties,
    when: words.when,
    senders: words.for,
  }
}

/** A rule of nothing but a rate: of a tier, or of an exemption. */
export function simpleRule(name: string, text: string, per: readonly string[]): Rule {
  const rate = readRate(text)
  const plain = {
    on: 'publish',
    topic: undefined,
    outcome: 'reject',
    isShadow: false,
    isQuota: false,
  } as const
  const numbers = numbersOf(rate, 'token-bucket', undefined, undefined)
  const cost = rate.isBytes ? 'bytes' : 1
  return {
    ...plain,
    name,
    per,
    numbers,
    cost,
    isFixed: true,
    penalties: undefined,
    when: undefined,
    senders: undefined,
  }
}

export function numbersOf(
  rate: Rate,
  algorithm: Numbers['algorithm'],
  initial: number | undefined,
  zone: string | undefined,
): Numbers | undefined {
  const { count, periodMs, burst, window } = rate
  if (count === undefined) return undefined
  const capacity = algorithm === 'token-bucket' ? (burst ?? count) : count
  const numbers = { algorithm, count, periodMs, capacity, initial: initial ?? capacity }
  return zone === undefined ? numbers : { ...numbers, calendar: { unit: window!, zone, from: rate.from } }
}

/** A limit multiplied by thousandths: rounded down to whole units, 1 at the least. */
export function multiplied(numbers: Numbers, thousandths: number): Numbers {
  const times = (units: number): number => Math.max(1, Math.floor((units * thousandths) / 1000))
  const capacity = times(numbers.capacity)
  const initial = numbers.initial === numbers.capacity ? capacity : Math.min(capacity, times(numbers.initial))
  return { ...numbers, count: times(numbers.count), capacity, initial }
}

/** Units a message costs under a rule, before tiers and behaviour. */
export function unitsOf(cost: CostWords, message: MessageWords): number {
  if (typeof cost === 'number') return cost
  if (cost === 'bytes') return Math.max(1, message.size)
  if (typeof cost === 'string') return COSTS[cost]
  if ('bytes' in cost) return Math.max(cost.min ?? 1, bytesOf(cost, message))
  if ('payload' in cost) return Math.max(cost.min ?? 1, readCost(fieldOf(message.payload, cost.payload)))
  if ('header' in cost) return Math.max(cost.min ?? 1, readCost(message.headers?.[cost.header]))
  const found = Object.entries(cost.topics).find(([pattern]) => matchTopic(pattern, message.topic))
  return unitsOf(found?.[1] ?? cost.default ?? 1, message)
}

function bytesOf({ bytes, overhead = 0 }: BytesCostWords, message: MessageWords): number {
  if (bytes === 'payload') return message.size + overhead
  const all = new TextEncoder().encode(message.topic).length + message.size + overhead
  if (bytes === 'message') return all
  const block = Number(bytes.slice('per '.length))
  return Math.trunc(all / block) + (all % block === 0 ? 0 : 1)
}

function readCost(value: unknown): number {
  const units = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  return typeof units === 'number' && units >= 0 ? units : 1
}

/** A cost multiplied by thousandths, counted in thousandths. */
export function pricedAt(units: number, thousandths: number): Fraction {
  return ofThousandths((units * thousandths) / 1000)
}

/** Rules of a policy in the order in which they are asked. */
export function rulesOf(policy: Policy): readonly Rule[] {
  return enabledRules(policy)
    .filter(({ maxSize }) => maxSize === undefined)
    .map(readRule)
}

/** A maximum size, read. */
export interface SizeRule
  extends Pick<Rule, 'name' | 'on' | 'topic' | 'outcome' | 'isShadow' | 'shadowShare' | 'when' | 'senders'> {
  readonly maxBytes: number
}

/** Maximum sizes of a policy in the order in which they are asked. */
export function sizesOf(policy: Policy): readonly SizeRule[] {
  return enabledRules(policy).flatMap(words => {
    if (words.maxSize === undefined) return []
    const { name, on = 'publish', topic, exceeded: outcome = 'reject', when } = words
    const shadow = readShadow(words)
    return [
      { name, on, topic, outcome, ...shadow, when, senders: words.for, maxBytes: readBytes(words.maxSize) },
    ]
  })
}

function enabledRules(policy: Policy): readonly RuleWords[] {
  const enabled = policy.rules.filter(rule => rule.enabled !== false)
  return byPriority(enabled.map(rule => ({ ...rule, shadow: rule.shadow ?? policy.shadow ?? false })))
}

function readShadow({ shadow = false }: RuleWords): Pick<Rule, 'isShadow' | 'shadowShare'> {
  if (typeof shadow === 'boolean') return { isShadow: shadow }
  return { isShadow: true, shadowShare: Number.parseFloat(shadow) / 100 }
}

/** Higher priorities first, equal ones in the order of the list. */
export function byPriority<T extends { priority?: number }>(list: readonly T[]): readonly T[] {
  return list.toSorted((a, b) => (b.priority ?? 0) - (a.priority ?? 0))
}
