import type { AlgorithmName } from '../../src/algorithms/limit-types.ts'
import { type Answer, ask, type Counter, charge, type Numbers, unseen } from '../model/counter.ts'
import { ofThousandths, ZERO } from '../model/fraction.ts'
import type { CalendarUnit } from './model-calendar.ts'

export type { Answer }

/** A rule as the model reads it: the numbers of a policy, nothing derived. */
export interface Rule {
  readonly name: string
  readonly algorithm: AlgorithmName
  readonly count: number
  readonly periodMs: number
  readonly burst?: number
  readonly initial?: number
  readonly fractional?: boolean
  readonly calendar?: {
    readonly unit: CalendarUnit
    readonly zone: string
    readonly from?: number | undefined
  }
}

export interface ModelCharge {
  readonly rule: Rule
  readonly key: string
  readonly cost: number
  readonly soft?: boolean
}

interface Key {
  readonly counter: Counter
  /** The moment the key lives in: that of its last charge, or its first sight. */
  readonly lastMs: number
  /** As it was before its last charge. */
  readonly before: Counter
}

/** The slow exact limiter that every fast one is compared with: its arithmetic is that of the whole model. */
export class Model {
  readonly #keys = new Map<string, Key>()

  /** The answer this charge would get by itself. Changes nothing. */
  ask(charge: ModelCharge, nowMs: number): Answer {
    const key = this.#keyOf(charge, nowMs)
    return ask(numbersOf(charge.rule), key.counter, Math.max(nowMs, key.lastMs), ofThousandths(charge.cost))
  }

  /** All charges in one step: all hard ones or none; a soft one that does not fit is left out. */
  decide(charges: readonly ModelCharge[], nowMs: number, commit: boolean): Answer[] {
    const answers = charges.map(each => this.ask(each, nowMs))
    if (!commit) return answers
    for (const each of charges) this.#see(each, nowMs)
    const refused = charges.some((each, index) => !each.soft && !answers[index]!.allowed)
    if (refused) return answers
    for (const [index, each] of charges.entries()) if (answers[index]!.allowed) this.take(each, nowMs)
    return answers
  }

  take(taken: ModelCharge, nowMs: number): void {
    const { counter, lastMs } = this.#keyOf(taken, nowMs)
    const atMs = Math.max(nowMs, lastMs)
    const after = charge(numbersOf(taken.rule), counter, atMs, ofThousandths(taken.cost))
    this.#keys.set(idOf(taken), { counter: after, lastMs: atMs, before: counter })
  }

  /** Gives back the last charge of a key, as if it had cost nothing. */
  giveBack(given: ModelCharge): void {
    const key = this.#keys.get(idOf(given))
    if (key === undefined) return
    const counter = charge(numbersOf(given.rule), key.before, key.lastMs, ZERO)
    this.#keys.set(idOf(given), { ...key, counter, before: counter })
  }

  /** Forgets what was admitted; with no key all of the rule, with no rule everything. */
  forget(rule?: string, key?: string): void {
    for (const id of [...this.#keys.keys()]) {
      const [ruleOfId, keyOfId] = JSON.parse(id) as [string, string]
      if ((rule === undefined || rule === ruleOfId) && (key === undefined || key === keyOfId))
        this.#keys.delete(id)
    }
  }

  /** A bucket that does not start full fills from the moment it is first asked, also when that is refused. */
  #see(seen: ModelCharge, nowMs: number): void {
    if (startsBelowFull(seen.rule)) this.#keys.set(idOf(seen), this.#keyOf(seen, nowMs))
  }

  #keyOf(charged: ModelCharge, nowMs: number): Key {
    const known = this.#keys.get(idOf(charged))
    if (known !== undefined) return known
    const counter = unseen(numbersOf(charged.rule), nowMs)
    return { counter, lastMs: startsBelowFull(charged.rule) ? nowMs : 0, before: counter }
  }
}

/** Whether an unseen key of a rule holds less than a full one. */
export function startsBelowFull({ initial, burst, count }: Rule): boolean {
  return initial !== undefined && initial < (burst ?? count)
}

function idOf({ rule, key }: ModelCharge): string {
  return JSON.stringify([rule.name, key])
}

const numbersByRule = new WeakMap<Rule, Numbers>()

function numbersOf(rule: Rule): Numbers {
  let numbers = numbersByRule.get(rule)
  if (numbers === undefined) {
    const { algorithm, count, periodMs, burst = count, calendar } = rule
    numbers = {
      ...{ algorithm, count, periodMs, capacity: burst, initial: rule.initial ?? burst },
      ...(calendar === undefined ? {} : { calendar }),
    }
    numbersByRule.set(rule, numbers)
  }
  return numbers
}
