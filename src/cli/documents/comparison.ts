import { policyError } from '../../core/errors.ts'
import { parseDuration, parsePercent, quote } from '../../core/units.ts'

const OPERATORS = ['=', '<', '<=', '>', '>='] as const

/** An expected value, such as `20`, `"<= 100ms"` or `"< 0.1%"`. */
export interface Comparison {
  /** As it was written. */
  readonly text: string
  readonly operator: (typeof OPERATORS)[number]
  /** A count, whole milliseconds (`Infinity` for `never`), or a fraction from 0 to 1. */
  readonly bound: number
}

/** Parses a count such as `20` or `>= 18`. Throws PolicyError. */
export function parseCountComparison(written: string | number): Comparison {
  return parseComparison(written, text => {
    const count = Number(text)
    if (/^\d+$/.test(text) && Number.isSafeInteger(count)) return count
    throw policyError('', `${quote(written)} is not a count`, 'write a whole number, or "<= 10"')
  })
}

/** Parses a duration such as `80ms`, `<= 100ms`, `0` or `never`. Throws PolicyError. */
export function parseDurationComparison(written: string | number): Comparison {
  return parseComparison(written, text =>
    text === 'never' ? Infinity : text === '0' ? 0 : parseDuration(text),
  )
}

/** Parses a share such as `0%` or `< 0.1%`. Throws PolicyError. */
export function parseShareComparison(written: string | number): Comparison {
  return parseComparison(written, text => (/^0\s*%?$/.test(text) ? 0 : parsePercent(text)))
}

function parseComparison(written: string | number, parseBound: (text: string) => number): Comparison {
  const text = String(written).trim()
  const [, operator = '=', bound = ''] = /^(<=|>=|<|>|=)?\s*(.*)$/s.exec(text) ?? []
  return { text, operator: operator as Comparison['operator'], bound: parseBound(bound) }
}

/** Returns true if a value is more than expected. */
export function isTooHigh({ operator, bound }: Comparison, value: number): boolean {
  if (operator === '<') return value >= bound
  return (operator === '=' || operator === '<=') && value > bound
}

/** Returns true if a value is less than expected. */
export function isTooLow({ operator, bound }: Comparison, value: number): boolean {
  if (operator === '>') return value <= bound
  return (operator === '=' || operator === '>=') && value < bound
}

export function isSatisfied(comparison: Comparison, value: number): boolean {
  return !isTooHigh(comparison, value) && !isTooLow(comparison, value)
}
