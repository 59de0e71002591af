import { type AdaptiveOptions, adaptive } from '../adaptive/index.ts'
import type { Middleware } from '../chain/middleware-types.ts'
import { parseDuration } from '../core/units.ts'
import { createCollectingProblems, type ReportProblem, tryOrReport } from './collect-compile-problems.ts'
import type { PolicyDocument } from './schema.ts'

/** Returns the middleware that scales all rules by the load; undefined if the policy has no `adaptive`. */
export function compileAdaptive(
  document: PolicyDocument['adaptive'],
  report: ReportProblem,
): Middleware | undefined {
  if (document === undefined) return undefined
  const { every, ...rest } = document
  const everyMs =
    every === undefined ? undefined : tryOrReport(() => parseDuration(every), under('every', report))
  const options = { ...rest, everyMs } as AdaptiveOptions
  return createCollectingProblems(adaptive, options, {}, problem => {
    const path = problem.path === 'everyMs' ? 'every' : (problem.path ?? '')
    report({ ...problem, path, remedy: problem.remedy ?? 'correct it' })
  })
}

function under(path: string, report: ReportProblem): ReportProblem {
  return problem => report({ ...problem, path })
}
