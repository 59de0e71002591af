import type { Reporter, TestCase, TestModule, TestSuite, Vitest } from 'vitest/node'

/** Number of tests that may pass only on their second try in one run. Why: a busy machine may delay a few servers. */
const MAX_SECOND_TRIES = 2

/** Numbers of tests by result. A failed file, suite or hook counts as one failed test. */
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
  // Tests with more than one retry depend on the load of the machine and are not reported.
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
 * Prints `N passed, N failed, N skipped` as the last line of a run, after the output of other reporters. Errors outside of
 * tests count as failed. Lists the tests that passed on a second try. If there are more than two, all of them count as
 * failed.
 */
export class TallyReporter implements Reporter {
  #isWatching = false
  #tally: Tally | undefined

  onInit(vitest: Vitest): void {
    this.#isWatching = vitest.config.watch
    if (this.#isWatching) return
    process.once('exit', code => {
      const tally = this.#tally ?? emptyTally()
      // The runner itself has failed.
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
    if (this.#isWatching) this.#print(tally)
  }

  #print({ passed, failed, skipped, secondTries }: Tally): void {
    for (const name of secondTries) process.stdout.write(`passed on a second try: ${name}\n`)
    process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`)
  }
}
