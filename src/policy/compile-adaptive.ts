import { type AdaptiveOptions, adaptive } from '../adapt/index.ts'
import type { Middleware } from '../chain/middleware.ts'
import { parseDuration } from '../core/units.ts'
import { attempt, makeOrReport, type Report } from './problem-report.ts'
import type { PolicyDocument } from './schema.ts'

/** What stands before all rules and scales them; undefined where nothing adapts. */
export function compileAdaptive(words: PolicyDocument['adaptive'], report: Report): Middleware | undefined {
  if (words === undefined) return undefined
  const { every, ...rest } = words
  const everyMs =
    every === undefined ? undefined : attempt(() => parseDuration(every), under('every', report))
  const options = { ...rest, ...(everyMs === undefined ? {} : { everyMs }) } as AdaptiveOptions
  return makeOrReport(adaptive, options, {}, problem => {
    const path = problem.path === 'everyMs' ? 'every' : (problem.path ?? '')
    report({ ...problem, path, remedy: problem.remedy ?? 'correct it' })
  })
}

function under(path: string, report: Report): Report {
  return problem => report({ ...problem, path })
}
