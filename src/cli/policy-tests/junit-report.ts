import { formatProblem } from '../../core/errors.ts'
import { escapeXml } from '../escape-xml.ts'
import { describeFailedTest } from './describe-results.ts'
import type { TestFileResult, TestResult } from './run-test-file.ts'

/** Returns the results as JUnit XML, which CI servers show. */
export function junitReport(results: readonly TestFileResult[]): string {
  const suites = results.map(describeSuite)
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<testsuites name="topicgate test">',
    ...suites,
    '</testsuites>',
    '',
  ].join('\n')
}

function describeSuite({ file, problems, tests }: TestFileResult): string {
  const failed = tests.filter(({ failures }) => failures.length > 0).length
  const errors = problems.length > 0 ? 1 : 0
  const counts = `tests="${tests.length + errors}" failures="${failed}" errors="${errors}"`
  const cases = tests.map(test => describeCase(file, test))
  if (errors > 0) {
    const text = problems.map(formatProblem).join('\n')
    const error = `<error message="the file cannot be run">${escapeXml(text)}</error>`
    cases.push(`    <testcase classname="${escapeXml(file)}" name="loads">${error}</testcase>`)
  }
  return [`  <testsuite name="${escapeXml(file)}" ${counts}>`, ...cases, '  </testsuite>'].join('\n')
}

function describeCase(file: string, test: TestResult): string {
  const { name, line, failures } = test
  const start = `    <testcase classname="${escapeXml(file)}" name="${escapeXml(name)}" file="${escapeXml(file)}" line="${line ?? 1}"`
  if (failures.length === 0) return `${start}/>`
  const lines = describeFailedTest(test)
  const failure = `<failure message="${escapeXml(lines[0] ?? '')}">${escapeXml(lines.join('\n'))}</failure>`
  return `${start}>${failure}</testcase>`
}
