import { PolicyError, type Position, type Problem } from '../../core/errors.ts'
import type { Paint, Terminal } from '../terminal/terminal.ts'
import { checkTotalsExpectation, createSendCheck, type UnmetTestExpectation } from './check-expectations.ts'
import { DecisionTotals } from './decision-totals.ts'
import { loadTestFile, type PolicyTestFile, readTestFile } from './load-test-file.ts'
import type { PolicyCoverage } from './policy-coverage.ts'
import { type TestDecision, TestPlayer } from './test-player.ts'

/** An expectation that was not met, with its place in the file. */
export interface TestFailure extends Position {
  readonly expected: string
  readonly seen: string
}

/** The first message of a test that was not decided as expected. */
export interface WrongMessage {
  /** Number of the message in its test, from 1. */
  readonly number: number
  /** Every step of its decision, as lines. */
  readonly explanation: readonly string[]
}

export interface TestResult extends Position {
  readonly name: string
  /** Empty if the test passed. */
  readonly failures: readonly TestFailure[]
  /** Undefined if the test passed, or if no single message is wrong. */
  readonly firstWrong: WrongMessage | undefined
  /** Time that the test took, in real milliseconds. */
  readonly durationMs: number
}

/** Results of a file of tests. */
export interface TestFileResult {
  readonly file: string
  /** Problems of the file or its policy; its tests then did not run to their end. */
  readonly problems: readonly Problem[]
  readonly tests: readonly TestResult[]
}

/** Runs all tests of a file. Problems of the file, its policy or a capture are part of the result. */
export async function runTestFile(
  path: string,
  coverage: PolicyCoverage,
  paint: Paint,
  terminal: Terminal,
): Promise<TestFileResult> {
  const tests: TestResult[] = []
  try {
    const file = await loadTestFile(await readTestFile(path, terminal.env), terminal.env)
    const player = new TestPlayer(file, terminal)
    const recordCoverage = coverage.recorderFor(file)
    for (const [index, { name }] of file.tests.entries()) {
      const startMs = performance.now()
      const located = await findUnmet(file, index, player, recordCoverage)
      const failures = located.map(({ path, unmet }) => ({
        ...file.locate(`${path}.expect.${unmet.path}`, 'key'),
        expected: unmet.expected,
        seen: unmet.seen,
      }))
      const wrong = Math.min(...located.map(({ unmet }) => unmet.firstWrong ?? Infinity))
      const firstWrong =
        wrong === Infinity
          ? undefined
          : { number: wrong + 1, explanation: await player.explain(index, wrong, paint) }
      const durationMs = performance.now() - startMs
      tests.push({ ...file.locate(`tests[${index}].name`), name, failures, firstWrong, durationMs })
    }
    return { file: path, problems: [], tests }
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    return { file: path, problems: error.problems, tests }
  }
}

interface LocatedUnmetExpectation {
  /** Path of the test or step. */
  readonly path: string
  readonly unmet: UnmetTestExpectation
}

async function findUnmet(
  { tests }: PolicyTestFile,
  index: number,
  player: TestPlayer,
  recordCoverage: (decision: TestDecision['decision']) => void,
): Promise<readonly LocatedUnmetExpectation[]> {
  const test = tests[index]!
  const totals = new DecisionTotals(test.expect)
  const checks = (test.steps ?? []).map(
    ({ send, expect }) => expect && createSendCheck(expect, send?.times ?? 1),
  )
  await player.play(index, (each, gate) => {
    totals.record(each, gate)
    recordCoverage(each.decision)
    if (each.step !== undefined) checks[each.step]?.record(each)
  })
  const located: LocatedUnmetExpectation[] = []
  for (const [step, check] of checks.entries()) {
    const path = `tests[${index}].steps[${step}]`
    for (const unmet of check?.findUnmet() ?? []) located.push({ path, unmet })
  }
  const path = `tests[${index}]`
  for (const unmet of checkTotalsExpectation(test.expect ?? {}, totals)) located.push({ path, unmet })
  return located
}
