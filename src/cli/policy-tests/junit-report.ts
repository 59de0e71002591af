import { formatProblem } from '../../core/errors.ts'
import { escapeXml } from '../plot/escape-xml.ts'
import { countResults, describeFailedTest } from './describe-results.ts'
import type { TestFileResult, TestResult } from './run-test-file.ts'

/** Returns the results as JUnit XML, which CI servers show. */
export function junitReport(results: readonly TestFileResult[]): string {
  const suites = results.map(describeSuite)
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="topicgate test" ${describeTotals(results)}>`,
    ...suites,
    '</testsuites>',
    '',
  ].join('\n')
}

/** Returns counts and the time as attributes. A file that cannot be run counts as one test more. */
function describeTotals(results: readonly TestFileResult[]): string {
  const { passed, failed, broken } = countResults(results)
  const ms = results.flatMap(({ tests }) => tests).reduce((sum, { durationMs }) => sum + durationMs, 0)
  const counts = `tests="${passed + failed + broken}" failures="${failed}" errors="${broken}"`
  return `${counts} time="${seconds(ms)}"`
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(3)
}

function describeSuite(result: TestFileResult): string {
  const { file, problems, tests } = result
  const cases = tests.map(test => describeCase(file, test))
  if (problems.length > 0) {
    const text = problems.map(formatProblem).join('\n')
    const error = `<error type="file" message="the file cannot be run">${escapeXml(text)}</error>`
    const { file: brokenFile = file, line } = problems[0]!
    cases.push(`${startCase(file, 'loads', brokenFile, line, 0)}>${error}</testcase>`)
  }
  return [
    `  <testsuite name="${escapeXml(file)}" ${describeTotals([result])}>`,
    ...cases,
    '  </testsuite>',
  ].join('\n')
}

/** Returns the tag of a test without its end. CI servers show `file` and `line` beside the change. */
function startCase(
  suite: string,
  name: string,
  file: string,
  line: number | undefined,
  durationMs: number,
): string {
  const place = `file="${escapeXml(file)}" line="${line ?? 1}"`
  return `    <testcase classname="${escapeXml(suite)}" name="${escapeXml(name)}" ${place} time="${seconds(durationMs)}"`
}

function describeCase(file: string, test: TestResult): string {
  const { name, line, failures, durationMs } = test
  const start = startCase(file, name, file, line, durationMs)
  if (failures.length === 0) return `${start}/>`
  const lines = describeFailedTest(test)
  const failure = `<failure type="expectation" message="${escapeXml(lines[0] ?? '')}">${escapeXml(lines.join('\n'))}</failure>`
  return `${start}>${failure}</testcase>`
}
