import { PolicyError, type Problem } from '../core/errors.ts'
import { parseBytes } from '../core/units.ts'
import type { Condition } from './condition.ts'
import { checkUnknownOptions, expectObject, quote } from './parse-helpers.ts'

/** Compiles `size`: payload bytes between `min` and `max`, both inclusive and optional. */
export function compileSizeCondition(
  value: unknown,
  path: string,
  problems: Problem[],
): Condition | undefined {
  const options = expectObject(value, path, problems, 'write it as { max: 10kB }')
  if (!options) return undefined
  const before = problems.length
  checkUnknownOptions(options, ['min', 'max'], path, problems)
  if (options.min === undefined && options.max === undefined) {
    problems.push({
      path,
      message: 'the size has neither min nor max',
      remedy: 'give one of them, as max: 10kB',
    })
  }
  const minBytes = readBytes(options.min, 0, `${path}.min`, problems)
  const maxBytes = readBytes(options.max, Infinity, `${path}.max`, problems)
  if (minBytes > maxBytes) {
    problems.push({ path, message: 'min is above max, so no size fits', remedy: 'exchange min and max' })
  }
  if (problems.length > before) return undefined
  return message => message.size >= minBytes && message.size <= maxBytes
}

function readBytes(value: unknown, missing: number, path: string, problems: Problem[]): number {
  if (value === undefined) return missing
  try {
    if (typeof value === 'string' || typeof value === 'number') return parseBytes(value)
    const remedy = 'write a whole number of bytes, or 10kB, 64KiB'
    problems.push({ path, message: `${quote(value)} is not a number of bytes`, remedy })
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    problems.push(...error.problems.map(problem => ({ ...problem, path })))
  }
  return missing
}
