import { readHeaderValue } from '../../conditions/header.ts'
import { parseFieldPath, readPayloadField } from '../../conditions/payload-field.ts'
import { checkWithPathPrefix, policyError } from '../../core/errors.ts'
import type { Dialect, Message } from '../../core/message.ts'
import { checkOptionNames } from '../../core/option-names.ts'
import { parseBytes, quote } from '../../core/units.ts'
import { parsePattern } from '../../topic/pattern.ts'
import { Router } from '../../topic/router.ts'
import { type BytesCost, COST_WEIGHTS, type Cost, type CostWord } from './rule-options.ts'

const BYTES_COST_REMEDY = 'write payload, message (topic and payload), or blocks as per 4KiB'

/** Cost of messages under a rule. */
export interface CostMeter {
  /** Units, if they are the same for every message. */
  readonly fixed?: number | undefined
  /** True if costs may be fractions of a unit. */
  readonly fractional: boolean
  /** Returns the units of a message; 1 if they cannot be read. Never throws. */
  unitsOf(message: Message): number
}

const LARGEST_COST = 2 ** 40

/** Compiles a cost. Throws PolicyError. */
export function compileCost(cost: Cost | undefined, dialect: Dialect = 'mqtt'): CostMeter {
  if (cost === undefined) return fixed(1)
  if (typeof cost === 'number' || (typeof cost === 'string' && cost !== 'bytes'))
    return fixed(unitsOfWord(cost))
  if (cost === 'bytes') return { fractional: false, unitsOf: message => clampUnits(message.size, 1) }
  if (typeof cost === 'function') return { fractional: true, unitsOf: message => called(cost, message) }
  if (typeof cost !== 'object' || cost === null) return fixed(unitsOfWord(cost))
  if ('topics' in cost) {
    checkOptionNames(cost, { topics: true, default: true }, 'cost')
    return byTopic(cost.topics, cost.default ?? 1, dialect)
  }
  const minUnits = minUnitsOf(cost.min)
  if ('bytes' in cost) {
    checkOptionNames(cost, { bytes: true, overhead: true, min: true }, 'cost')
    return byBytes(cost.bytes, cost.overhead ?? 0, minUnits)
  }
  if ('payload' in cost) {
    checkOptionNames(cost, { payload: true, min: true }, 'cost')
    const path = parseFieldPath(cost.payload)
    if (path === undefined) {
      throw policyError(
        'cost.payload',
        `"${cost.payload}" is not a field path`,
        'write a path as cost or reading.units',
      )
    }
    return { fractional: true, unitsOf: message => clampUnits(readPayloadField(message, path), minUnits) }
  }
  if (!('header' in cost)) return fixed(unitsOfWord(cost))
  checkOptionNames(cost, { header: true, min: true }, 'cost')
  return {
    fractional: true,
    unitsOf: message => clampUnits(readHeaderValue(message, cost.header), minUnits),
  }
}

/** Returns true if a cost counts bytes, not blocks, messages or custom units. */
export function countsBytes(cost: Cost | undefined): boolean {
  if (typeof cost !== 'object') return cost === 'bytes'
  return 'bytes' in cost && (cost.bytes === 'payload' || cost.bytes === 'message')
}

/** Returns true if a cost may depend on the payload itself, not only on its size. */
export function costUsesPayload(cost: Cost | undefined): boolean {
  return typeof cost === 'function' || (typeof cost === 'object' && cost !== null && 'payload' in cost)
}

/** Returns the block size in bytes of `per 4KiB`; undefined for other text. Throws PolicyError. */
function parseBlock(text: unknown): number | undefined {
  const [, size] = typeof text === 'string' ? (/^per\s+(.*)$/.exec(text.trim()) ?? []) : []
  if (size === undefined) return undefined
  const bytes = checkWithPathPrefix('cost.bytes', () => parseBytes(size))
  if (bytes >= 1) return bytes
  throw policyError('cost.bytes', 'a block of 0 bytes has no meaning', 'write per 4KiB')
}

function byBytes(bytes: BytesCost['bytes'], overhead: number | string, minUnits: number): CostMeter {
  const block = bytes === 'payload' || bytes === 'message' ? 1 : parseBlock(bytes)
  if (block === undefined)
    throw policyError('cost.bytes', `${quote(bytes)} is not a count of bytes`, BYTES_COST_REMEDY)
  const extra = checkWithPathPrefix('cost.overhead', () => parseBytes(overhead))
  const fractional = !Number.isInteger(minUnits)
  if (bytes === 'payload')
    return { fractional, unitsOf: message => clampUnits(message.size + extra, minUnits) }
  return {
    fractional,
    unitsOf: message =>
      clampUnits(Math.ceil((Buffer.byteLength(message.topic) + message.size + extra) / block), minUnits),
  }
}

function minUnitsOf(min: number | undefined): number {
  const minUnits = min ?? 1
  if (typeof minUnits === 'number' && minUnits >= 0 && minUnits <= LARGEST_COST) return minUnits
  throw policyError('cost.min', `${quote(minUnits)} is not a cost`, 'write a number of units, as min: 1')
}

function fixed(units: number): CostMeter {
  return { fixed: units, fractional: !Number.isInteger(units), unitsOf: () => units }
}

function unitsOfWord(cost: unknown): number {
  if (typeof cost === 'string') {
    if (Object.hasOwn(COST_WEIGHTS, cost)) return COST_WEIGHTS[cost as CostWord]
  } else if (typeof cost === 'number' && cost >= 0 && cost <= LARGEST_COST) return cost
  const words = Object.keys(COST_WEIGHTS).join(', ')
  throw policyError(
    'cost',
    `${typeof cost === 'object' ? quote(cost) : String(cost)} is not a cost`,
    `use a number of units, bytes, ${words}, { bytes: per 4KiB }, { payload: field } or { header: name }`,
  )
}

/** Returns a cost by topic. The first matching pattern applies. Results are cached by topic. */
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
    unitsOf: message => router.planOf(message.topic),
  }
}

function called(cost: (message: Message) => number, message: Message): number {
  try {
    return clampUnits(cost(message), 0)
  } catch {
    return 1
  }
}

/**
 * Returns the units of an untrusted cost, at least `minUnits`. Accepts numbers and numeric text. Anything else,
 * including NaN and negative numbers, counts as 1. Why: a nonsensical cost must not be free.
 */
function clampUnits(value: unknown, minUnits: number): number {
  const written = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  const units = typeof written === 'number' && written >= 0 ? Math.min(written, LARGEST_COST) : 1
  return units < minUnits ? minUnits : units
}
