import { type CalendarUnit, calendarWindow } from '../laws/model-calendar.ts'
import {
  add,
  ceiling,
  compare,
  divide,
  type Fraction,
  floor,
  fraction,
  greatest,
  multiply,
  subtract,
  ZERO,
} from './fraction.ts'

export type Algorithm =
  | 'token-bucket'
  | 'leaky-bucket'
  | 'fixed-window'
  | 'sliding-log'
  | 'sliding-counter'
  | 'quota'

/** Numbers of a limit, as its policy writes them. */
export interface Numbers {
  readonly algorithm: Algorithm
  readonly count: number
  readonly periodMs: number
  /** The most the limit can hold: the burst of a token bucket, the count of any other. */
  readonly capacity: number
  readonly initial: number
  readonly calendar?: {
    readonly unit: CalendarUnit
    readonly zone: string
    readonly from?: number | undefined
  }
}

interface Taken {
  readonly atMs: number
  readonly units: Fraction
}

/** What is known of one key of one limit. Never changed: each charge gives another. */
export interface Counter {
  /** The moment `used` and `nextMs` are of. */
  readonly atMs: number
  /** Tokens missing from a bucket. */
  readonly used: Fraction
  /** The moment from which a leaky bucket passes a message. */
  readonly nextMs: Fraction
  /** Admitted charges of windows and logs, the oldest first. */
  readonly taken: readonly Taken[]
}

export interface Answer {
  readonly allowed: boolean
  readonly remaining: number
  readonly retryAfterMs: number
  readonly resetMs: number
}

/** The counter of a key that is seen for the first time. */
export function unseen(numbers: Numbers, atMs: number): Counter {
  const missing = whole(numbers.capacity - numbers.initial)
  return { atMs, used: missing, nextMs: ZERO, taken: [] }
}

/** The answer to a cost that comes now: `remaining` and `resetMs` count it as taken if it is allowed. */
export function ask(numbers: Numbers, counter: Counter, nowMs: number, cost: Fraction): Answer {
  const allowed = passes(numbers, counter, nowMs, cost)
  const after = allowed ? charge(numbers, counter, nowMs, cost) : counter
  return {
    allowed,
    remaining: remainingAt(numbers, after, nowMs),
    retryAfterMs: allowed ? 0 : waitOf(numbers, counter, nowMs, cost),
    resetMs: fullAtMs(numbers, after, nowMs) - nowMs,
  }
}

/** Whether a cost passes at a moment. */
export function passes(numbers: Numbers, counter: Counter, nowMs: number, cost: Fraction): boolean {
  if (numbers.algorithm === 'leaky-bucket') {
    return cost.top === 0n || floor(counter.nextMs) <= BigInt(nowMs)
  }
  return compare(add(usedAt(numbers, counter, nowMs), cost), whole(numbers.capacity)) <= 0
}

/** The counter after a cost was taken. */
export function charge(numbers: Numbers, counter: Counter, nowMs: number, cost: Fraction): Counter {
  if (numbers.algorithm === 'leaky-bucket') {
    if (cost.top === 0n) return counter
    const gap = multiply(cost, perUnitMs(numbers))
    return { ...counter, atMs: nowMs, nextMs: add(greatest(counter.nextMs, whole(nowMs)), gap) }
  }
  if (numbers.algorithm === 'token-bucket') {
    return { ...counter, atMs: nowMs, used: add(usedAt(numbers, counter, nowMs), cost) }
  }
  if (cost.top === 0n) return { ...counter, atMs: nowMs }
  return { ...counter, atMs: nowMs, taken: [...counter.taken, { atMs: nowMs, units: cost }] }
}

/** The counter after the numbers of its limit changed: what was used is what the old numbers say at that moment. */
export function renumber(before: Numbers, after: Numbers, counter: Counter, nowMs: number): Counter {
  if (before.algorithm === 'token-bucket') {
    return { ...counter, atMs: nowMs, used: usedAt(before, counter, nowMs) }
  }
  if (before.algorithm === 'leaky-bucket') {
    const left = subtract(counter.nextMs, whole(nowMs))
    if (left.top <= 0n) return counter
    const units = divide(left, perUnitMs(before))
    return { ...counter, atMs: nowMs, nextMs: add(whole(nowMs), multiply(units, perUnitMs(after))) }
  }
  return counter
}

/** Units that count at a moment. */
function usedAt(numbers: Numbers, counter: Counter, nowMs: number): Fraction {
  const { algorithm, periodMs } = numbers
  switch (algorithm) {
    case 'token-bucket': {
      const refilled = divide(whole(nowMs - counter.atMs), perUnitMs(numbers))
      return greatest(ZERO, subtract(counter.used, refilled))
    }
    case 'fixed-window':
    case 'quota':
      return sum(counter, ({ atMs }) => windowOf(numbers, atMs) === windowOf(numbers, nowMs))
    case 'sliding-log':
      return sum(counter, ({ atMs }) => atMs > nowMs - periodMs)
    case 'sliding-counter': {
      const window = Math.floor(nowMs / periodMs)
      const current = sum(counter, ({ atMs }) => Math.floor(atMs / periodMs) === window)
      const previous = sum(counter, ({ atMs }) => Math.floor(atMs / periodMs) === window - 1)
      const share = fraction(BigInt(periodMs - (nowMs % periodMs)), BigInt(periodMs))
      return add(current, multiply(previous, share))
    }
    case 'leaky-bucket':
      throw new Error('a leaky bucket counts no units')
    default:
      return algorithm satisfies never
  }
}

function remainingAt(numbers: Numbers, counter: Counter, nowMs: number): number {
  if (numbers.algorithm === 'leaky-bucket') return floor(counter.nextMs) <= BigInt(nowMs) ? 1 : 0
  const left = floor(subtract(whole(numbers.capacity), usedAt(numbers, counter, nowMs)))
  return left < 0n ? 0 : Number(left)
}

/** Least whole milliseconds after which a cost passes; Infinity if it never does. */
function waitOf(numbers: Numbers, counter: Counter, nowMs: number, cost: Fraction): number {
  if (numbers.algorithm === 'leaky-bucket') return Number(floor(counter.nextMs)) - nowMs
  if (compare(cost, whole(numbers.capacity)) > 0) return Number.POSITIVE_INFINITY
  if (numbers.algorithm === 'token-bucket') {
    const over = subtract(add(usedAt(numbers, counter, nowMs), cost), whole(numbers.capacity))
    return Number(ceiling(multiply(over, perUnitMs(numbers))))
  }
  return leastWait(fullAtMs(numbers, counter, nowMs) - nowMs, waitMs =>
    passes(numbers, counter, nowMs + waitMs, cost),
  )
}

/** The first moment at which nothing of what was taken counts. */
function fullAtMs(numbers: Numbers, counter: Counter, nowMs: number): number {
  const { algorithm, periodMs } = numbers
  switch (algorithm) {
    case 'token-bucket':
      return nowMs + Number(ceiling(multiply(usedAt(numbers, counter, nowMs), perUnitMs(numbers))))
    case 'leaky-bucket':
      return Math.max(nowMs, Number(ceiling(counter.nextMs)))
    case 'sliding-log':
      return latest(counter, nowMs, atMs => atMs + periodMs)
    case 'fixed-window':
    case 'quota':
      return latest(counter, nowMs, atMs => windowEndMs(numbers, atMs))
    case 'sliding-counter':
      return latest(counter, nowMs, atMs => (Math.floor(atMs / periodMs) + 2) * periodMs)
    default:
      return algorithm satisfies never
  }
}

/** The least wait for which `holds`, of a claim that stays true once it is, and is true for `most`. */
function leastWait(most: number, holds: (waitMs: number) => boolean): number {
  let [fails, works] = [0, most]
  while (works - fails > 1) {
    const middle = Math.floor((fails + works) / 2)
    if (holds(middle)) works = middle
    else fails = middle
  }
  return works
}

function latest({ taken }: Counter, nowMs: number, endOf: (atMs: number) => number): number {
  return taken.reduce((ms, { atMs }) => Math.max(ms, endOf(atMs)), nowMs)
}

function sum({ taken }: Counter, counts: (taken: Taken) => boolean): Fraction {
  return taken.filter(counts).reduce((total, { units }) => add(total, units), ZERO)
}

function windowOf({ calendar, periodMs }: Numbers, atMs: number): string | number {
  return calendar === undefined ? Math.floor(atMs / periodMs) : calendarWindow(calendar, atMs)
}

const ends = new Map<string, number>()

function windowEndMs(numbers: Numbers, atMs: number): number {
  const { calendar, periodMs } = numbers
  const window = windowOf(numbers, atMs)
  if (calendar === undefined) return (Number(window) + 1) * periodMs
  const id = `${calendar.zone} ${window}`
  const known = ends.get(id)
  if (known !== undefined) return known
  const endMs = atMs + leastWait(2 * periodMs, waitMs => windowOf(numbers, atMs + waitMs) !== window)
  ends.set(id, endMs)
  return endMs
}

/** Milliseconds in which one unit becomes free. */
function perUnitMs({ count, periodMs }: Numbers): Fraction {
  return fraction(BigInt(periodMs), BigInt(count))
}

function whole(units: number): Fraction {
  return { top: BigInt(units), bottom: 1n }
}
