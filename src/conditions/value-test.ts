import type { Problem } from '../core/errors.ts'
import type { Scalar } from './condition.ts'
import { type OptionRecord, quote } from './parse-helpers.ts'

export const VALUE_TEST_WORDS = ['equals', 'in', 'range', 'exists'] as const

/** A validated value test. `equals` is a list of one. Open sides of a range are infinite. */
export type CompiledValueTest =
  | { readonly kind: 'among'; readonly values: readonly Scalar[] }
  | { readonly kind: 'range'; readonly min: number; readonly max: number }
  | { readonly kind: 'exists'; readonly isPresent: boolean }

/** Checks that exactly one of equals, in, range and exists is given, and that it is valid. */
export function checkValueTest(
  options: OptionRecord,
  path: string,
  problems: Problem[],
): CompiledValueTest | undefined {
  const given = VALUE_TEST_WORDS.filter(option => options[option] !== undefined)
  const option = given[0]
  if (option === undefined || given.length > 1) {
    problems.push({
      path,
      message:
        option === undefined
          ? 'there is nothing to compare with'
          : `${given.join(' and ')} cannot be combined`,
      remedy: `give exactly one of ${VALUE_TEST_WORDS.join(', ')}; join several conditions with all or any`,
    })
    return undefined
  }
  const value = options[option]
  const valuePath = `${path}.${option}`
  switch (option) {
    case 'equals':
      return checkScalar(value, valuePath, problems) ? { kind: 'among', values: [value] } : undefined
    case 'in':
      return checkList(value, valuePath, problems)
    case 'range':
      return checkRange(value, valuePath, problems)
    case 'exists':
      if (typeof value === 'boolean') return { kind: 'exists', isPresent: value }
      problems.push({
        path: valuePath,
        message: `${quote(value)} is neither true nor false`,
        remedy: 'write true or false',
      })
      return undefined
    default:
      return option satisfies never
  }
}

/** Compiles a validated test for values of a payload. An absent value is undefined. Types must be equal. */
export function compileValueTest(test: CompiledValueTest): (value: unknown) => boolean {
  switch (test.kind) {
    case 'among': {
      const [only, ...others] = test.values
      if (others.length === 0) return value => value === only
      const values: ReadonlySet<unknown> = new Set(test.values)
      return value => values.has(value)
    }
    case 'range': {
      const { min, max } = test
      return value => typeof value === 'number' && value >= min && value <= max
    }
    case 'exists': {
      const { isPresent } = test
      return value => (value !== undefined) === isPresent
    }
    default:
      return test satisfies never
  }
}

function checkScalar(value: unknown, path: string, problems: Problem[]): value is Scalar {
  const fits =
    value === null ||
    typeof value === 'string' ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isFinite(value))
  if (!fits) {
    problems.push({
      path,
      message: `${quote(value)} can never be equal to a value`,
      remedy: 'write a text, a finite number, true, false or null',
    })
  }
  return fits
}

function checkList(value: unknown, path: string, problems: Problem[]): CompiledValueTest | undefined {
  if (!Array.isArray(value) || value.length === 0) {
    const message = Array.isArray(value) ? 'an empty list matches nothing' : `${quote(value)} is not a list`
    problems.push({ path, message, remedy: 'write a list of values, as [high, emergency]' })
    return undefined
  }
  const values = value.filter((entry, index): entry is Scalar =>
    checkScalar(entry, `${path}[${index}]`, problems),
  )
  return values.length === value.length ? { kind: 'among', values } : undefined
}

function checkRange(value: unknown, path: string, problems: Problem[]): CompiledValueTest | undefined {
  const refuse = (message: string, remedy: string): undefined => {
    problems.push({ path, message, remedy })
  }
  const remedy = 'write [from, to], both inclusive; null leaves a side open'
  if (!Array.isArray(value) || value.length !== 2) return refuse(`${quote(value)} is not a range`, remedy)
  const ends: readonly unknown[] = value
  const wrong = ends.find(end => end !== null && !(typeof end === 'number' && Number.isFinite(end)))
  if (wrong !== undefined || ends.includes(undefined)) {
    return refuse(`${quote(wrong)} is not the end of a range`, remedy)
  }
  if (ends[0] === null && ends[1] === null)
    return refuse('the range is open on both sides', 'use exists: true')
  const min = ends[0] === null ? -Infinity : Number(ends[0])
  const max = ends[1] === null ? Infinity : Number(ends[1])
  if (min > max) return refuse(`the range [${min}, ${max}] is empty`, `write [${max}, ${min}]`)
  return { kind: 'range', min, max }
}
