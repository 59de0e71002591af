import { PolicyError, policyError } from './errors.ts'

/** Returns the candidate closest to a misspelt word; undefined if none is close. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const wanted = word.slice(0, 64).toLowerCase()
  let best: string | undefined
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of candidates) {
    const edits = distance(wanted, candidate.toLowerCase())
    if (edits < least) {
      best = candidate
      least = edits
    }
  }
  return best
}

/** Names of all options of `T`. The compiler keeps the list complete. */
export type KnownOptions<T> = { readonly [Name in keyof Required<T>]: true }

/**
 * Throws PolicyError for unknown options, with the most likely name, and for options that are not an object.
 * `remedies` holds the remedies for names that users often expect.
 */
export function checkOptionNames<T extends object>(
  options: T,
  known: KnownOptions<T>,
  path = '',
  remedies: Readonly<Record<string, string>> = {},
): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw policyError(
      path,
      `${quoteKind(options)} is not an object of options`,
      `its options are ${listOf(known)}`,
    )
  }
  const unknown = Object.keys(options).filter(name => !Object.hasOwn(known, name))
  if (unknown.length === 0) return
  throw new PolicyError(
    unknown.map(name => {
      const near = nearest(name, Object.keys(known))
      const usual = near === undefined ? `use ${listOf(known)}` : `did you mean \`${near}\`?`
      return {
        path,
        message: `there is no option \`${name.slice(0, 60)}\``,
        remedy: Object.hasOwn(remedies, name) ? remedies[name]! : usual,
      }
    }),
  )
}

/** Returns the given options with these names, as part of a larger object. */
export function pickOptions<T extends object>(options: T, known: KnownOptions<T>): T {
  return Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(known, name))) as T
}

function listOf(known: object): string {
  return Object.keys(known).join(', ')
}

function quoteKind(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  return Array.isArray(value) ? 'a list' : typeof value === 'function' ? 'a function' : String(value)
}

/** Returns the number of insertions, deletions, replacements and swaps of neighbours between two words. */
function distance(a: string, b: string): number {
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let edits = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        edits = Math.min(edits, before[j - 2]! + 1)
      }
      row.push(edits)
    }
    before = previous
    previous = row
  }
  return previous[b.length]!
}
