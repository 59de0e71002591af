import type { Problem } from '../core/errors.ts'

export type OptionRecord = Readonly<Record<string, unknown>>

/** Returns the properties of an object. Adds a problem and returns undefined if it is not an object. */
export function expectObject(
  value: unknown,
  path: string,
  problems: Problem[],
  remedy: string,
): OptionRecord | undefined {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as OptionRecord
  problems.push({ path, message: `${quote(value)} is not an object`, remedy })
  return undefined
}

/** Adds a problem for each unknown property. Why: a misspelt condition must not match silently. */
export function checkUnknownOptions(
  options: OptionRecord,
  known: readonly string[],
  path: string,
  problems: Problem[],
): void {
  for (const option of Object.keys(options)) {
    if (known.includes(option)) continue
    problems.push({
      path: `${path}.${option}`,
      message: `there is no condition word ${quote(option)} here`,
      remedy: `use ${known.join(', ')}`,
    })
  }
}

/** Returns a value for an error message: short, on one line. */
export function quote(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : value)
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'function') return 'a function'
  return String(value)
}
