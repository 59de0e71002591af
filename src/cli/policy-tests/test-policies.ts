import { watchPolicy } from '../../policy/index.ts'
import { resolvePolicyFiles } from '../policy/resolve-policy-files.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { paintFor, type Terminal, write } from '../terminal/terminal.ts'
import { TerminationSignalWaiter } from '../terminal/termination-signal-waiter.ts'
import { writeOutputFile } from '../terminal/write-output-file.ts'
import { countResults, describeCoverage, describeResults } from './describe-results.ts'
import { findTestFiles } from './find-test-files.ts'
import { junitReport } from './junit-report.ts'
import { readTestFile } from './load-test-file.ts'
import { type CoverageReport, PolicyCoverage } from './policy-coverage.ts'
import { runTestFile, type TestFileResult } from './run-test-file.ts'
import { testFileJsonSchema } from './test-file-format.ts'

export interface TestPoliciesOptions {
  /** Files of tests, or folders with such files. */
  readonly files: readonly string[]
  /** Lists rules and exemptions that no test decided by. */
  readonly coverage: boolean
  /** File for a JUnit report. */
  readonly junit?: string | undefined
  readonly json: boolean
  /** Runs the tests again after each change, until SIGINT or SIGTERM. */
  readonly watch: boolean
  /** Prints the JSON Schema of a file of tests instead. */
  readonly schema: boolean
}

/** Runs tests of policies on a virtual clock. Exit code 1 if a test failed or a file could not be run. */
export async function testPolicies(options: TestPoliciesOptions, terminal: Terminal): Promise<number> {
  if (options.schema) {
    await write(terminal.stdout, `${JSON.stringify(testFileJsonSchema(), null, 2)}\n`)
    return EXIT.fine
  }
  if (options.files.length === 0)
    throw new CommandError('no file of tests was given (topicgate test policy.test.yaml)', EXIT.usage)
  if (options.watch) return await watchTests(options, terminal)
  const run = await runAll(options, terminal)
  await report(run, options, terminal)
  const { failed, broken } = countResults(run.results)
  return failed + broken > 0 ? EXIT.failed : EXIT.fine
}

interface TestRun {
  readonly results: readonly TestFileResult[]
  readonly coverage: PolicyCoverage
}

async function runAll(options: TestPoliciesOptions, terminal: Terminal): Promise<TestRun> {
  const coverage = new PolicyCoverage()
  const isPlain = options.json || options.junit !== undefined
  const paint = isPlain ? plain : paintFor(terminal.stdout, terminal.env)
  const results: TestFileResult[] = []
  for (const file of await findTestFiles(options.files))
    results.push(await runTestFile(file, coverage, paint, terminal))
  return { results, coverage }
}

async function report(
  { results, coverage }: TestRun,
  options: TestPoliciesOptions,
  { stdout, env }: Terminal,
): Promise<void> {
  if (options.junit !== undefined) await writeOutputFile(options.junit, 'the report', junitReport(results))
  const uncovered = options.coverage ? coverage.reports() : undefined
  if (options.json) {
    await write(stdout, `${JSON.stringify(toJson(results, uncovered))}\n`)
    return
  }
  const lines = [...describeResults(results, paintFor(stdout, env)), ...describeCoverage(uncovered ?? [])]
  await write(stdout, `${lines.join('\n')}\n`)
}

function plain(_style: string, text: string): string {
  return text
}

function toJson(
  results: readonly TestFileResult[],
  coverage: readonly CoverageReport[] | undefined,
): unknown {
  return {
    ...countResults(results),
    files: results.map(({ file, problems, tests }) => ({
      file,
      problems,
      tests: tests.map(({ name, line, failures, firstWrong }) => ({
        name,
        line,
        ok: failures.length === 0,
        failures,
        firstWrong,
      })),
    })),
    coverage,
  }
}

/** Runs the tests now and after each change of a file that they name. */
async function watchTests(options: TestPoliciesOptions, terminal: Terminal): Promise<number> {
  const termination = new TerminationSignalWaiter()
  // Watches do not keep the process alive.
  const keepAlive = setInterval(() => {}, 2 ** 30)
  try {
    for (;;) {
      // Begins before the tests read the files, so that no change is missed.
      const watch = watchOnce(await listWatchedFiles(options.files, terminal.env))
      try {
        await report(await runAll(options, terminal), options, terminal)
        terminal.stderr.write('waiting for a change of a file; Ctrl-C ends it\n')
        const signal = await Promise.race([watch.changed, termination.received])
        if (signal !== undefined) return EXIT.fine
      } finally {
        await watch.close()
      }
    }
  } finally {
    clearInterval(keepAlive)
    termination.release()
  }
}

/** Returns the files whose change may change results: of tests, their policies with overlays, and captures. */
async function listWatchedFiles(
  paths: readonly string[],
  env: Terminal['env'],
): Promise<ReadonlySet<string>> {
  const watched = new Set<string>()
  for (const file of await findTestFiles(paths)) {
    watched.add(file)
    const { policyPaths = [], captures = [] } = (await readTestFile(file, env).catch(() => undefined)) ?? {}
    const policies = await resolvePolicyFiles(policyPaths, env).catch(() => policyPaths)
    for (const each of [...policies, ...captures]) watched.add(each)
  }
  return watched
}

interface FileWatch {
  /** Resolves at the first change. */
  readonly changed: Promise<undefined>
  close(): Promise<void>
}

function watchOnce(files: ReadonlySet<string>): FileWatch {
  let onChange: () => void = () => {}
  const changed = new Promise<undefined>(resolve => {
    onChange = () => resolve(undefined)
  })
  // Each by itself: a file that is missing must not hide changes of the others, and may appear.
  const watches = [...files].map(file => watchPolicy([file], async () => onChange(), { signal: false }))
  return {
    changed,
    close: async () => {
      await Promise.all(watches.map(watch => watch.close()))
    },
  }
}
