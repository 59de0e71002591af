import { PolicyError, type Problem } from '../core/errors.ts'
import { formatPath, parsePolicyPath } from './source-positions.ts'

/** Receives a problem whose path is relative to the part being compiled. */
export type ReportProblem = (problem: Problem) => void

/** Runs a check and reports its PolicyError; returns undefined if it failed. */
export function tryOrReport<T>(check: () => T, report: ReportProblem): T | undefined {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    for (const problem of error.problems) report(problem)
    return undefined
  }
}

/**
 * Calls a factory and reports all problems of its options, although it stops at the first one. A wrong option is
 * reported, replaced by its value in `neutral` or omitted, and the factory is called again.
 */
export function createCollectingProblems<Options extends object, T>(
  make: (options: Options) => T,
  options: Options,
  neutral: Readonly<Record<string, unknown>>,
  report: ReportProblem,
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
        const name = String(parsePolicyPath(problem.path ?? '')[0] ?? '')
        // A repeated problem has a cause elsewhere, and the first report is enough.
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

/** Returns a reporter for a part of the policy, which prefixes paths with `base`. */
export function prefixPaths(report: ReportProblem, ...base: (string | number)[]): ReportProblem {
  return problem =>
    report({ ...problem, path: formatPath([...base, ...parsePolicyPath(problem.path ?? '')]) })
}
