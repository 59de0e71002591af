import { readHeader } from '../conditions/header.ts'
import { parseFieldPath, readField } from '../conditions/payload-field.ts'
import { policyError } from '../errors.ts'
import type { Dialect, Message } from '../message.ts'
import { parsePattern } from '../topic/pattern.ts'
import { Router } from '../topic/router.ts'
import { COST_WORDS, type Cost, type CostWord } from './options.ts'

/** How much a message costs under a rule. */
export interface CostMeter {
  /** Units, where they are the same for every message; else undefined. */
  readonly fixed?: number | undefined
  /** Whether costs may be fractions of a unit. */
  readonly fractional: boolean
  /** Units of a message; 1 where they cannot be read. Never throws. */
  unitsOf(message: Message): number
}

const LARGEST_COST = 2 ** 40

/** A cost meter. Throws PolicyError for a cost that is none. */
export function compileCost(cost: Cost | undefined, dialect: Dialect = 'mqtt'): CostMeter {
  if (cost === undefined) return fixed(1)
  if (typeof cost === 'number' || (typeof cost === 'string' && cost !== 'bytes'))
    return fixed(unitsOfWord(cost))
  if (cost === 'bytes') return { fractional: false, unitsOf: message => sane(message.size) }
  if (typeof cost === 'function') return { fractional: true, unitsOf: message => called(cost, message) }
  if ('payload' in cost) {
    const path = parseFieldPath(cost.payload)
    if (path === undefined) {
      throw policyError(
        'cost.payload',
        `"${cost.payload}" is not a field path`,
        'write a path as cost or reading.units',
      )
    }
    return { fractional: true, unitsOf: message => sane(readField(message, path)) }
  }
  if ('header' in cost) {
    return { fractional: true, unitsOf: message => sane(readHeader(message, cost.header)[0]) }
  }
  return byTopic(cost.topics, cost.default ?? 1, dialect)
}

function fixed(units: number): CostMeter {
  return { fixed: units, fractional: !Number.isInteger(units), unitsOf: () => units }
}

function unitsOfWord(cost: number | CostWord): number {
  if (typeof cost === 'string') {
    if (Object.hasOwn(COST_WORDS, cost)) return COST_WORDS[cost]
  } else if (cost >= 0 && cost <= LARGEST_COST) return cost
  const words = Object.keys(COST_WORDS).join(', ')
  throw policyError(
    'cost',
    `${String(cost)} is not a cost`,
    `use a number of units, bytes, ${words}, { payload: field } or { header: name }`,
  )
}

/** The first pattern of the table that matches a topic gives the cost; those of topics seen before are remembered. */
function byTopic(
  topics: Readonly<Record<string, number | CostWord>>,
  otherwise: number | CostWord,
  dialect: Dialect,
): CostMeter {
  const rest = unitsOfWord(otherwise)
  const units = Object.values(topics).map(unitsOfWord)
  const router = new Router(dialect, ([first]) => (first === undefined ? rest : units[first]!))
  Object.keys(topics).forEach((pattern, index) => {
    router.add(parsePattern(pattern, dialect, `cost.topics["${pattern}"]`), index)
  })
  return {
    fractional: [...units, rest].some(each => !Number.isInteger(each)),
    unitsOf: message => router.route(message.topic).plan,
  }
}

function called(cost: (message: Message) => number, message: Message): number {
  try {
    return sane(cost(message))
  } catch {
    return 1
  }
}

/**
 * What strangers write as a cost: a number, also as text; 1 for all else, also for NaN and less than nothing, so that
 * nobody travels free.
 */
function sane(value: unknown): number {
  const units = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof units !== 'number' || !(units >= 0)) return 1
  return Math.min(units, LARGEST_COST)
}
