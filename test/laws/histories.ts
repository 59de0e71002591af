import type { AlgorithmName } from '../../src/algorithms/limit-types.ts'
import type { Random } from '../support/random.ts'
import type { Answer, Rule } from './model.ts'

/** Where the next charge stands in time, most of them on or beside a moment at which something changes. */
export const TIME_MOVES = [
  'stay',
  'tick',
  'unit',
  'boundary',
  'before boundary',
  'retry',
  'before retry',
  'reset',
  'before reset',
  'jump',
  'far',
  'back',
] as const
export const COST_MOVES = ['zero', 'one', 'few', 'share', 'all', 'over', 'far over', 'fraction'] as const

export interface Move {
  readonly time: (typeof TIME_MOVES)[number]
  readonly cost: (typeof COST_MOVES)[number]
  /** How far or how much, in [0, 1). */
  readonly amount: number
}

export function rollMove(random: Random): Move {
  // Small costs are drawn more often, or histories would be mostly refusals.
  const cost = random.chance(0.4) ? random.pick(['one', 'few', 'fraction'] as const) : random.pick(COST_MOVES)
  return { time: random.pick(TIME_MOVES), cost, amount: random.next() }
}

/** The moment of the next charge, after one at `nowMs` that was answered with `last`. */
export function moveTime(move: Move, nowMs: number, rule: Rule, last: Answer | undefined): number {
  const { periodMs, count } = rule
  const boundary = (Math.floor(nowMs / periodMs) + 1) * periodMs
  const retryAfterMs = last && Number.isFinite(last.retryAfterMs) ? last.retryAfterMs : 0
  switch (move.time) {
    case 'stay':
      return nowMs
    case 'tick':
      return nowMs + 1
    case 'unit':
      return nowMs + Math.ceil((periodMs / count) * Math.ceil(move.amount * 3))
    case 'boundary':
      return boundary
    case 'before boundary':
      return boundary - 1
    case 'retry':
      return nowMs + retryAfterMs
    case 'before retry':
      return nowMs + Math.max(0, retryAfterMs - 1)
    case 'reset':
      return nowMs + (last?.resetMs ?? 0)
    case 'before reset':
      return nowMs + Math.max(0, (last?.resetMs ?? 0) - 1)
    case 'jump':
      return nowMs + Math.floor(move.amount * periodMs)
    case 'far':
      return nowMs + Math.floor(move.amount * periodMs * 4)
    case 'back':
      return Math.max(0, nowMs - Math.floor(move.amount * periodMs * 2))
  }
}

export function capacityOf(rule: Rule): number {
  return rule.burst ?? rule.count
}

export function chooseCost(move: Move, rule: Rule): number {
  const capacity = capacityOf(rule)
  switch (move.cost) {
    case 'zero':
      return 0
    case 'one':
      return 1
    case 'few':
      return 1 + Math.floor(move.amount * 5)
    case 'share':
      return Math.floor(move.amount * capacity)
    case 'all':
      return capacity
    case 'over':
      return rule.fractional ? (capacity * 1000 + 1) / 1000 : capacity + 1
    case 'far over':
      return capacity * 3
    case 'fraction':
      return rule.fractional ? Math.floor(move.amount * Math.min(capacity, 20) * 1000) / 1000 : 1
  }
}

const DAY_MS = 86_400_000
const RATES: readonly (readonly [count: number, periodMs: number])[] = [
  [7, 1000],
  [300_000, 1000],
  [1, 3 * DAY_MS],
  [1_000_000, 1000],
  [10, 1000],
  [3, 7],
  [1, 1],
  [2, 1],
  [5, 300_000],
  [100, 60_000],
  [1000, 997],
  [13, DAY_MS],
  [2, 3_600_001],
  [999_983, 1000],
]
const STARTS_MS = [0, 1, 999, 1_699_999_999_999, 1_700_000_000_000, 1_741_487_400_123, 4_102_444_800_000]

/** Zones whose days are 23, 24½ or 25 hours long, begin at 1 am, or were left out altogether. */
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kathmandu',
  'Australia/Lord_Howe',
  'America/Havana',
  'Africa/Cairo',
  'Asia/Beirut',
  'America/Santiago',
  'Pacific/Apia',
  'Pacific/Kiritimati',
] as const
const UNITS_MS = { day: DAY_MS, week: 7 * DAY_MS, month: 30 * DAY_MS, year: 365 * DAY_MS } as const
const CALENDAR_STARTS_MS = [
  Date.UTC(2025, 2, 29, 22, 59, 59, 999),
  Date.UTC(2025, 2, 30, 0, 59),
  Date.UTC(2025, 2, 9, 6, 30),
  Date.UTC(2025, 9, 25, 22),
  Date.UTC(2025, 10, 2, 5, 59),
  Date.UTC(2025, 3, 5, 15),
  Date.UTC(2025, 8, 6, 23),
  Date.UTC(2011, 11, 29, 12),
  Date.UTC(2024, 1, 28, 12),
  Date.UTC(2023, 11, 31, 9, 59),
  0,
]

/** Whole-number room of the fast arithmetic; a rule above it is refused when its policy loads. */
const EXACT = 2 ** 52

/** A rule with awkward numbers, and a moment to start it at. */
export function rollRule(
  random: Random,
  algorithm: AlgorithmName,
  name: string,
  shortestPeriodMs = 1,
): { rule: Rule; startMs: number } {
  if (algorithm === 'quota') {
    const unit = random.pick(['day', 'week', 'month', 'year'] as const)
    const from = { day: [1], week: [1, 4, 7], month: [1, 15, 31], year: [1] }[unit]
    const calendar = { unit, zone: random.pick(ZONES), from: random.pick(from) }
    const rule = {
      name,
      algorithm,
      count: 1 + Math.floor(random.next() * 30),
      periodMs: UNITS_MS[unit],
      calendar,
    }
    return { rule: withFractions(random, rule), startMs: random.pick(CALENDAR_STARTS_MS) }
  }
  const [count, periodMs] = random.pick([
    ...RATES.filter(rate => rate[1] >= shortestPeriodMs),
    [
      1 + Math.floor(random.next() * 50),
      Math.max(shortestPeriodMs, 1 + Math.floor(random.next() * 5000)),
    ] as const,
  ])
  const burst = algorithm === 'token-bucket' ? rollBurst(random, count, periodMs) : {}
  const startMs = random.chance(0.3)
    ? random.pick(STARTS_MS) + Math.floor(random.next() * periodMs)
    : random.pick(STARTS_MS)
  return { rule: withFractions(random, { name, algorithm, count, periodMs, ...burst }), startMs }
}

function rollBurst(random: Random, count: number, periodMs: number): { burst?: number; initial?: number } {
  if (random.chance(0.4)) return {}
  const wanted = random.pick([
    1,
    2,
    10,
    count * 10,
    Math.ceil(count / 3),
    1 + Math.floor(random.next() * 100),
  ])
  const burst = Math.max(1, Math.min(wanted, Math.floor(EXACT / periodMs)))
  return random.chance(0.3) ? { burst, initial: Math.floor(random.next() * (burst + 1)) } : { burst }
}

function withFractions(random: Random, rule: Rule): Rule {
  const thousandths = capacityOf(rule) * 1000
  const fits = rule.algorithm === 'sliding-log' ? Math.min(thousandths, rule.periodMs) <= 10_000 : true
  const exact = Math.max(thousandths, rule.count * 1000) * rule.periodMs <= EXACT
  return fits && exact && random.chance(0.4) ? { ...rule, fractional: true } : rule
}
