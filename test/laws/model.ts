import type { AlgorithmName } from '../../src/algorithms/limit.ts'
import { type CalendarUnit, calendarWindow } from './model-calendar.ts'

/** A rule as the model reads it: the numbers of a policy, nothing derived. */
export interface Rule {
  readonly name: string
  readonly algorithm: AlgorithmName
  readonly count: number
  readonly periodMs: number
  readonly burst?: number
  readonly initial?: number
  readonly fractional?: boolean
  readonly calendar?: { readonly unit: CalendarUnit; readonly zone: string }
}

/** An admitted charge: whole milliseconds, and units in thousandths. */
export interface Taken {
  readonly at: bigint
  readonly thousandths: bigint
}

/** What the model answers; the same words as a store's verdict. */
export interface Answer {
  readonly allowed: boolean
  readonly remaining: number
  readonly retryAfterMs: number
  readonly resetMs: number
}

export interface ModelCharge {
  readonly rule: Rule
  readonly key: string
  readonly cost: number
  readonly soft?: boolean
}

/**
 * The slow and obvious limiter every fast one is held against. It remembers each admitted charge for ever and
 * answers from that history by the definitions of the semantics, in whole BigInt fractions; waits are found by
 * search over "would it pass then?", never by a formula.
 */
export class Model {
  readonly #keys = new Map<string, Taken[]>()

  /** The answer this charge would get by itself. Changes nothing. */
  ask(charge: ModelCharge, nowMs: number): Answer {
    return answer(charge.rule, this.#history(charge), nowMs, charge.cost)
  }

  /** All charges in one step: all hard ones or none; a soft one that does not fit is left out. */
  decide(charges: readonly ModelCharge[], nowMs: number, commit: boolean): Answer[] {
    const answers = charges.map(charge => this.ask(charge, nowMs))
    if (commit) {
      for (const charge of charges) {
        const history = this.#history(charge)
        if (history.length === 0) history.push(...firstSight(charge.rule, BigInt(nowMs)))
      }
    }
    const refused = charges.some((charge, index) => !charge.soft && !answers[index]!.allowed)
    if (commit && !refused) {
      charges.forEach((charge, index) => {
        if (answers[index]!.allowed) this.take(charge, nowMs)
      })
    }
    return answers
  }

  take(charge: ModelCharge, nowMs: number): void {
    const history = this.#history(charge)
    history.push({ at: lastOf(history, nowMs), thousandths: toThousandths(charge.cost) })
  }

  /** Gives back the last charge of a key, as if it had cost nothing. */
  giveBack(charge: ModelCharge): void {
    const history = this.#history(charge)
    const last = history.pop()
    if (last) history.push({ at: last.at, thousandths: 0n })
  }

  /** Forgets what was admitted; with no key all of the rule, with no rule everything. */
  forget(rule?: string, key?: string): void {
    for (const id of [...this.#keys.keys()]) {
      const [ruleOfId, keyOfId] = JSON.parse(id) as [string, string]
      if ((rule === undefined || rule === ruleOfId) && (key === undefined || key === keyOfId))
        this.#keys.delete(id)
    }
  }

  #history({ rule, key }: ModelCharge): Taken[] {
    const id = JSON.stringify([rule.name, key])
    const found = this.#keys.get(id)
    if (found) return found
    const started: Taken[] = []
    this.#keys.set(id, started)
    return started
  }
}

/** The answer to one cost on one history. */
export function answer(rule: Rule, history: readonly Taken[], nowMs: number, cost: number): Answer {
  const at = lastOf(history, nowMs)
  const thousandths = toThousandths(cost)
  const before = history.length === 0 ? firstSight(rule, at) : history
  const allowed = passes(rule, before, at, thousandths)
  const after = allowed ? [...before, { at, thousandths }] : before
  const resetMs = leastWait(wait => isWhole(rule, after, at + wait))
  return {
    allowed,
    remaining: wholeUnitsLeft(rule, after, at),
    // What a whole key refuses can never pass.
    retryAfterMs: passes(rule, before, at + BigInt(resetMs), thousandths)
      ? leastWait(wait => passes(rule, before, at + wait, thousandths))
      : Number.POSITIVE_INFINITY,
    resetMs,
  }
}

/** A bucket that does not start full fills from the moment it is first asked: a charge of nothing, also when denied. */
export function firstSight(rule: Rule, at: bigint): Taken[] {
  return rule.initial !== undefined && rule.initial < (rule.burst ?? rule.count)
    ? [{ at, thousandths: 0n }]
    : []
}

/** "Time never runs backwards inside a limit: at = max(now, time of its last charge)." */
function lastOf(history: readonly Taken[], nowMs: number): bigint {
  const last = history.at(-1)?.at ?? 0n
  return last > BigInt(nowMs) ? last : BigInt(nowMs)
}

function toThousandths(cost: number): bigint {
  return BigInt(Math.round(cost * 1000))
}

/** The smallest whole wait for which `holds`, of a claim that stays true once it is. */
function leastWait(holds: (wait: bigint) => boolean): number {
  if (holds(0n)) return 0
  let fails = 0n
  let works = 1n
  while (!holds(works)) {
    fails = works
    works *= 2n
  }
  while (works - fails > 1n) {
    const middle = (fails + works) / 2n
    if (holds(middle)) works = middle
    else fails = middle
  }
  return Number(works)
}

function passes(rule: Rule, history: readonly Taken[], at: bigint, thousandths: bigint): boolean {
  // A leaky bucket lets a message pass in the millisecond its moment falls into.
  if (rule.algorithm === 'leaky-bucket')
    return thousandths === 0n || nextFree(rule, history) < fine(rule, at + 1n)
  return parts(rule, thousandths) <= partsLeft(rule, history, at)
}

function wholeUnitsLeft(rule: Rule, history: readonly Taken[], at: bigint): number {
  // No burst: a leaky bucket holds room for one unit at a time, or none.
  if (rule.algorithm === 'leaky-bucket') return nextFree(rule, history) < fine(rule, at + 1n) ? 1 : 0
  return Number(partsLeft(rule, history, at) / parts(rule, 1000n))
}

/** One unit is 1000 × period parts, so that thousandths, and what flows in a millisecond, are whole numbers of parts. */
function parts(rule: Rule, thousandths: bigint): bigint {
  return thousandths * BigInt(rule.periodMs)
}

function sumOf(rule: Rule, history: readonly Taken[]): bigint {
  return history.reduce((sum, taken) => sum + parts(rule, taken.thousandths), 0n)
}

/** Room for further units, in parts. */
function partsLeft(rule: Rule, history: readonly Taken[], at: bigint): bigint {
  const count = parts(rule, BigInt(rule.count) * 1000n)
  const period = BigInt(rule.periodMs)
  switch (rule.algorithm) {
    case 'token-bucket':
      return tokensLeft(rule, history, at)
    case 'fixed-window':
      return (
        count -
        sumOf(
          rule,
          history.filter(taken => taken.at / period === at / period),
        )
      )
    case 'quota': {
      const window = calendarWindow(rule.calendar!, Number(at))
      return (
        count -
        sumOf(
          rule,
          history.filter(taken => calendarWindow(rule.calendar!, Number(taken.at)) === window),
        )
      )
    }
    case 'sliding-log':
      return (
        count -
        sumOf(
          rule,
          history.filter(taken => taken.at > at - period),
        )
      )
    case 'sliding-counter': {
      const window = at / period
      const elapsed = at % period
      const current = sumOf(
        rule,
        history.filter(taken => taken.at / period === window),
      )
      const previous = sumOf(
        rule,
        history.filter(taken => taken.at / period === window - 1n),
      )
      // parts hold a factor of the period, so this division is exact.
      return count - current - (previous / period) * (period - elapsed)
    }
    case 'leaky-bucket':
      throw new Error('a leaky bucket has no room to count')
  }
}

function tokensLeft(rule: Rule, history: readonly Taken[], at: bigint): bigint {
  const burst = parts(rule, BigInt(rule.burst ?? rule.count) * 1000n)
  const perMs = BigInt(rule.count) * 1000n
  let tokens = rule.initial === undefined ? burst : parts(rule, BigInt(rule.initial) * 1000n)
  let then = history[0]?.at ?? at
  for (const taken of history) {
    tokens = least(burst, tokens + (taken.at - then) * perMs) - parts(rule, taken.thousandths)
    then = taken.at
  }
  return least(burst, tokens + (at - then) * perMs)
}

/** A moment in 1000 × count parts of a millisecond: next = at + cost × period ÷ count is whole there. */
function fine(rule: Rule, at: bigint): bigint {
  return at * 1000n * BigInt(rule.count)
}

/** The moment from which a leaky bucket is free again, in fine parts. */
function nextFree(rule: Rule, history: readonly Taken[]): bigint {
  let next = 0n
  for (const { at, thousandths } of history) {
    const from = fine(rule, at) > next ? fine(rule, at) : next
    next = from + thousandths * BigInt(rule.periodMs)
  }
  return next
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

/** True when nothing that was ever taken matters any more. */
function isWhole(rule: Rule, history: readonly Taken[], at: bigint): boolean {
  if (rule.algorithm === 'leaky-bucket') {
    return nextFree(rule, history) <= fine(rule, at)
  }
  if (rule.algorithm === 'sliding-counter') {
    const period = BigInt(rule.periodMs)
    return history.every(taken => taken.thousandths === 0n || taken.at / period < at / period - 1n)
  }
  return partsLeft(rule, history, at) === parts(rule, BigInt(rule.burst ?? rule.count) * 1000n)
}
