import { basename } from 'node:path'
import { formatProblem, withoutControls } from '../../core/errors.ts'
import { formatCount, sanitizeForTerminal } from '../terminal/format.ts'
import type { Paint } from '../terminal/terminal.ts'
import type { CoverageReport } from './policy-coverage.ts'
import type { TestFileResult, TestResult } from './run-test-file.ts'

export interface ResultCounts {
  readonly passed: number
  readonly failed: number
  /** Files that could not be run. */
  readonly broken: number
}

export function countResults(results: readonly TestFileResult[]): ResultCounts {
  const tests = results.flatMap(each => each.tests)
  const failed = tests.filter(({ failures }) => failures.length > 0).length
  const broken = results.filter(({ problems }) => problems.length > 0).length
  return { passed: tests.length - failed, failed, broken }
}

/** Formats results as lines: each test, and for those that failed what was expected and why it was decided so. */
export function describeResults(results: readonly TestFileResult[], paint: Paint): readonly string[] {
  const { passed, failed, broken } = countResults(results)
  const verdict = [`${passed} passed`, `${failed} failed`]
  if (broken > 0) verdict.push(broken === 1 ? '1 file could not be run' : `${broken} files could not be run`)
  return [...results.flatMap(result => describeFile(result, paint)), '', verdict.join(', ')]
}

/** Formats what a test expected and saw, with places, and the explanation of its first wrong message. */
export function describeFailedTest({ failures, firstWrong }: TestResult): readonly string[] {
  const lines = failures.map(({ expected, seen, ...place }) =>
    formatProblem({
      ...place,
      message: `expected ${sanitizeForTerminal(expected)}, seen ${sanitizeForTerminal(seen)}`,
    }),
  )
  if (firstWrong === undefined) return lines
  const { number, explanation } = firstWrong
  const title = `message ${formatCount(number)} of the test is the first that was decided otherwise:`
  return [...lines, title, ...explanation.map(line => `  ${line}`.trimEnd())]
}

/** Formats which rules and exemptions no test decided by. */
export function describeCoverage(reports: readonly CoverageReport[]): readonly string[] {
  return reports.flatMap(({ policy, covered, total, rules, exemptions }) => [
    '',
    `${policy.map(file => withoutControls(basename(file))).join(' + ')}: ${covered} of ${total} rules and exemptions decided a message`,
    ...rules.map(name => `  no test is refused by rule ${sanitizeForTerminal(name)}`),
    ...exemptions.map(name => `  no test passes by exemption ${sanitizeForTerminal(name)}`),
  ])
}

function describeFile({ file, problems, tests }: TestFileResult, paint: Paint): readonly string[] {
  return [
    paint('bold', withoutControls(file)),
    ...tests.flatMap(test => [
      `  ${test.failures.length === 0 ? paint('green', 'ok  ') : paint('red', 'FAIL')}  ${sanitizeForTerminal(test.name, 200)}`,
      ...describeFailedTest(test).map(line => `        ${line}`.trimEnd()),
    ]),
    ...problems.flatMap(problem => formatProblem(problem).split('\n')).map(line => `  ${line}`),
  ]
}
