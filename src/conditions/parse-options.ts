import type { Problem } from '../core/errors.ts'

export type Words = Readonly<Record<string, unknown>>

/** The words of an object an operator wrote, or undefined and a problem where it is none. */
export function readWords(
  value: unknown,
  path: string,
  problems: Problem[],
  remedy: string,
): Words | undefined {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Words
  problems.push({ path, message: `${quote(value)} is not an object`, remedy })
  return undefined
}

/** A problem for each word that is not known: a misspelt condition must not hold silently. */
export function refuseUnknown(
  words: Words,
  known: readonly string[],
  path: string,
  problems: Problem[],
): void {
  for (const word of Object.keys(words)) {
    if (known.includes(word)) continue
    problems.push({
      path: `${path}.${word}`,
      message: `there is no condition word ${quote(word)} here`,
      remedy: `use ${known.join(', ')}`,
    })
  }
}

/** A value as it stands in a message to the operator: short, on one line. */
export function quote(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : value)
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'function') return 'a function'
  return String(value)
}
