import { PolicyError, type Problem } from '../core/errors.ts'
import { formatPath, parsePath } from './source-positions.ts'

/** Takes a problem whose path is relative to the part being compiled. */
export type Report = (problem: Problem) => void

/** Runs a check and reports what it throws; undefined where it failed. */
export function attempt<T>(check: () => T, report: Report): T | undefined {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    for (const problem of error.problems) report(problem)
    return undefined
  }
}

/**
 * Makes something of options and reports everything wrong with them, though a factory stops at the first fault: a
 * bad option is reported, replaced by what stands in `neutral` or left out, and the factory asked again.
 */
export function makeOrReport<Options extends object, T>(
  make: (options: Options) => T,
  options: Options,
  neutral: Readonly<Record<string, unknown>>,
  report: Report,
): T | undefined {
  let current = options
  const tried = new Set<string>()
  for (;;) {
    try {
      return make(current)
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error
      const before = new Set(tried)
      for (const problem of error.problems) {
        const name = String(parsePath(problem.path ?? '')[0] ?? '')
        // Met again, the fault lies elsewhere than the path says; what was found before is enough.
        if (!before.has(name)) report(problem)
        tried.add(name)
      }
      if (tried.size === before.size) return undefined
      current = Object.fromEntries(
        Object.entries(options).flatMap(([name, value]) => {
          if (!tried.has(name)) return [[name, value]]
          return Object.hasOwn(neutral, name) ? [[name, neutral[name]]] : []
        }),
      ) as Options
    }
  }
}

/** A reporter for a part of the policy: paths are put behind `base`. */
export function within(report: Report, ...base: (string | number)[]): Report {
  return problem => report({ ...problem, path: formatPath([...base, ...parsePath(problem.path ?? '')]) })
}
