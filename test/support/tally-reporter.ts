import type { Reporter, TestCase, TestModule, TestSuite, Vitest } from 'vitest/node'

/** Tests that may fail at first in a run: one server that was slow, not a fault that shows now and then. */
const MAX_SECOND_TRIES = 2

/** What a run came to. A file, suite or hook that broke counts as one failure, like a test. */
export interface Tally {
  passed: number
  failed: number
  skipped: number
  /** Names of tests that passed on their second try, with their files. */
  readonly secondTries: string[]
}

function emptyTally(): Tally {
  return { passed: 0, failed: 0, skipped: 0, secondTries: [] }
}

function countTest(test: TestCase, tally: Tally): void {
  const { state } = test.result()
  if (state === 'passed') tally.passed++
  else if (state === 'failed') tally.failed++
  else tally.skipped++
  // Tests that depend on how another program behaves under load ask for more tries themselves.
  const isTriedOften = Number(test.options.retry ?? 0) > 1
  if (test.diagnostic()?.flaky && !isTriedOften)
    tally.secondTries.push(`${test.module.relativeModuleId} > ${test.fullName}`)
}

function countEntry(entry: TestModule | TestSuite, tally: Tally): void {
  tally.failed += entry.errors().length
  for (const child of entry.children) {
    if (child.type === 'test') countTest(child, tally)
    else countEntry(child, tally)
  }
}

/**
 * Closes a run with `N passed, N failed, N skipped` alone on the last line of standard output, below everything that
 * other reporters and the runner print. Errors outside of any test count as failed. Names the tests that passed on a
 * second try; more than a few of them count as failed.
 */
export class TallyReporter implements Reporter {
  #watching = false
  #tally: Tally | undefined

  onInit(vitest: Vitest): void {
    this.#watching = vitest.config.watch
    if (this.#watching) return
    process.once('exit', code => {
      const tally = this.#tally ?? emptyTally()
      // The runner gave up, or failed for a reason that belongs to no test.
      if (code !== 0 && tally.failed === 0) tally.failed = 1
      this.#print(tally)
    })
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const tally = emptyTally()
    tally.failed = unhandledErrors.length
    for (const module of modules) countEntry(module, tally)
    const { length } = tally.secondTries
    if (length > MAX_SECOND_TRIES) {
      tally.passed -= length
      tally.failed += length
      process.exitCode = 1
    }
    this.#tally = tally
    if (this.#watching) this.#print(tally)
  }

  #print({ passed, failed, skipped, secondTries }: Tally): void {
    for (const name of secondTries) process.stdout.write(`passed on a second try: ${name}\n`)
    process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`)
  }
}
