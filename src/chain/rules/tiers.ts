import { checkWithPathPrefix, PolicyError, type Problem, policyError } from '../../core/errors.ts'
import { hashLongPart } from '../../core/hash-long-part.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { isNonEmptyString, type Sender } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { parseRate, quote } from '../../core/units.ts'
import type { CostMeter } from './cost.ts'
import type { Rule } from './create-limit-middleware.ts'
import { createRateRule } from './implicit-rate-rule.ts'
import type { KeyMaker } from './key-scope.ts'
import { parseFactor } from './parse-factor.ts'

/** A tier: a limit for each sender, and a factor on message costs. */
export interface TierSpec {
  /** Limit such as `60/min burst 100`. Default: that of the same name in {@link DEFAULT_TIERS}, else unlimited. */
  readonly limit?: string | undefined
  /**
   * Factor such as `x0.5`, at most three decimals, on the cost of each message under all rules, including the
   * tier's own. Default: x1.
   */
  readonly cost?: string | undefined
}

/** Tiers by name, in addition to {@link DEFAULT_TIERS}. `assign` sets the tier of senders. */
export interface TiersSpec {
  readonly assign?:
    | {
        /** Template such as `{header.tier}`. Default: the tier given by the broker or `senders.tier`. */
        readonly from?: string | undefined
        /** Tier of senders without a known one. Default: no tier, and no tier limit. */
        readonly default?: string | undefined
      }
    | undefined
  readonly [name: string]: TierSpec | TiersSpec['assign']
}

/** Predefined tiers. */
export const DEFAULT_TIERS: Readonly<Record<string, TierSpec>> = {
  free: { limit: '60/min burst 100' },
  basic: { limit: '600/min burst 500' },
  pro: { limit: '3000/min burst 2000' },
  enterprise: { limit: '12000/min burst 10000' },
  admin: { limit: 'unlimited' },
}

export interface Tier {
  readonly name: string
  /** Limit for each sender; absent if unlimited. */
  readonly rule?: Rule | undefined
  /** Factor on costs, in thousandths. */
  readonly costThousandths: number
}

/** Compiled tiers. */
export interface Tiers {
  readonly byName: ReadonlyMap<string, Tier>
  readonly fallback: Tier | undefined
  /** True if a tier makes costs fractional. All rules then count in thousandths. */
  readonly fractional: boolean
}

/** Returns the key of a sender under a tier's limit: its user, else its API key, else its client. */
export function senderKeyOf(sender: Sender): string {
  if (isNonEmptyString(sender.user)) return `user:${hashLongPart(sender.user)}`
  if (isNonEmptyString(sender.apiKey)) return `apiKey:${hashLongPart(sender.apiKey)}`
  return `client:${hashLongPart(sender.client ?? '')}`
}

const PER_SENDER: KeyMaker = {
  scopes: ['sender'],
  changing: false,
  keyOf: ({ sender }) => senderKeyOf(sender),
}

const TIER: KnownOptions<TierSpec> = { limit: true, cost: true }

const ASSIGN: KnownOptions<NonNullable<TiersSpec['assign']>> = { from: true, default: true }

/** Compiles tiers, whose limits may all be in shadow. Returns undefined if there are none. Throws PolicyError with all problems. */
export function compileTiers(spec: TiersSpec | undefined, shadow = false): Tiers | undefined {
  if (spec === undefined) return undefined
  const problems: Problem[] = []
  const { assign, ...own } = spec as TiersSpec & Readonly<Record<string, TierSpec>>
  const named = new Map<string, TierSpec>(Object.entries({ ...DEFAULT_TIERS, ...own }))
  if (named.size > MAX_SIZES.tiers) {
    throw policyError(
      '',
      `there are more than ${MAX_SIZES.tiers} tiers`,
      'give senders with equal limits one tier',
    )
  }
  const read = <T>(name: string, word: string, run: () => T): T | undefined => {
    try {
      return checkWithPathPrefix(`${name}.${word}`, run)
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error
      problems.push(...error.problems)
      return undefined
    }
  }
  for (const [name, tier] of named) {
    if (typeof tier === 'object' && tier !== null) continue
    const message = `${quote(tier)} is not a tier`
    problems.push({ path: name, message, remedy: 'write { limit: 60/min burst 100, cost: x1 }' })
  }
  if (problems.length > 0) throw new PolicyError(problems)
  for (const [name, tier] of named) checkOptionNames(tier, TIER, name)
  if (assign !== undefined) checkOptionNames(assign, ASSIGN, 'assign')
  const factors = new Map(
    [...named].map(([name, { cost }]) => [
      name,
      read(name, 'cost', () => (cost === undefined ? 1000 : parseFactor(cost))) ?? 1000,
    ]),
  )
  const fractional = [...factors.values()].some(thousandths => thousandths % 1000 !== 0)
  const byName = new Map<string, Tier>()
  for (const [name, { limit }] of named) {
    const rule = read(name, 'limit', () =>
      tierRule(name, limit ?? DEFAULT_TIERS[name]?.limit ?? 'unlimited', fractional, shadow),
    )
    byName.set(name, { name, costThousandths: factors.get(name)!, rule })
  }
  const fallback = assign?.default === undefined ? undefined : byName.get(assign.default)
  if (assign?.default !== undefined && fallback === undefined) {
    const remedy = `use one of ${[...byName.keys()].slice(0, 20).join(', ')}`
    problems.push({
      path: 'assign.default',
      message: `there is no tier ${JSON.stringify(assign.default)}`,
      remedy,
    })
  }
  if (problems.length > 0) throw new PolicyError(problems)
  return { byName, fallback, fractional }
}

function tierRule(name: string, text: string, fractional: boolean, shadow: boolean): Rule | undefined {
  const rate = parseRate(text)
  if (rate.per !== undefined)
    throw policyError('', `a tier counts by sender, not per ${rate.per}`, `remove per ${rate.per}`)
  if (rate.bytes)
    throw policyError('', "a tier's limit counts messages", 'write a rule with per: tier for bytes')
  if (rate.count === Infinity) return undefined
  return createRateRule(`tier:${name}`, rate, { keys: PER_SENDER, fractional, shadow })
}

/** Multiplies a cost by whole thousandths. */
export function multiplyCost(cost: CostMeter, thousandths: number): CostMeter {
  if (thousandths === 1000) return cost
  const times = (units: number): number => (units * thousandths) / 1000
  return {
    fixed: cost.fixed === undefined ? undefined : times(cost.fixed),
    fractional: cost.fractional || thousandths % 1000 !== 0,
    unitsOf: message => times(cost.unitsOf(message)),
  }
}
