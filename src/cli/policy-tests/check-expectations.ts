import { type Comparison, holds, isTooHigh, isTooLow } from '../comparison.ts'
import { formatCount, formatExactWait } from '../format.ts'
import type { DecisionCount, DecisionTotals } from './decision-totals.ts'
import type { TestDecision } from './play-test.ts'
import { NO_EXEMPTION, type SendExpectation, type TotalsExpectation } from './test-file-format.ts'

/** An expectation that was not met. */
export interface Unmet {
  /** Path below `expect`, such as `rules.daily.refused`. */
  readonly path: string
  readonly expected: string
  readonly seen: string
  /** Number of the first wrong message in the test; undefined if none can be named. */
  readonly firstWrong?: number | undefined
}

/** Compares the decisions of one step with its expectation. */
export function checkSendExpectation(
  expected: SendExpectation,
  decisions: readonly TestDecision[],
): readonly Unmet[] {
  const refusals = decisions.filter(({ decision }) => !decision.allowed)
  const changed = decisions.filter(({ decision }) => decision.outcome !== 'deliver')
  const { allowed, refused, by, exemption, outcome, reason, retryAfter, shadow = {} } = expected
  const isAllowed = ({ decision }: TestDecision): boolean => decision.allowed
  return [
    ...(allowed === undefined ? [] : checkCount('allowed', allowed, decisions, isAllowed)),
    ...(refused === undefined ? [] : checkCount('refused', refused, decisions, each => !isAllowed(each))),
    ...(by === undefined
      ? []
      : checkEach('by', by, refusals, ({ decision }) => decision.rule ?? decision.reason)),
    ...(exemption === undefined
      ? []
      : checkEach('exemption', exemption, decisions, ({ decision }) => decision.exemption ?? NO_EXEMPTION)),
    ...(outcome === undefined
      ? []
      : checkEach(
          'outcome',
          outcome,
          outcome === 'deliver' ? decisions : changed,
          each => each.decision.outcome,
        )),
    ...(reason === undefined
      ? []
      : checkEach('reason', reason, changed.length > 0 ? changed : decisions, each => each.decision.reason)),
    ...(retryAfter === undefined ? [] : checkWaits(retryAfter, refusals)),
    ...Object.entries(shadow).flatMap(([rule, count]) =>
      checkCount(
        `shadow[${JSON.stringify(rule)}]`,
        count,
        decisions,
        each => each.decision.shadow?.includes(rule) === true,
      ),
    ),
  ]
}

/** Compares the totals of a test with its expectation. */
export function checkTotalsExpectation(
  expected: TotalsExpectation,
  totals: DecisionTotals,
): readonly Unmet[] {
  const { all } = totals
  const messages = all.allowed + all.refused
  const { refusedShare, rules = {}, exemptions = {}, senders = {} } = expected
  const unmet = [...checkTotal('messages', expected.messages, messages), ...checkCounts('', expected, all)]
  const share = messages === 0 ? 0 : all.refused / messages
  if (refusedShare !== undefined && !holds(refusedShare, share)) {
    const seen = `${Number((share * 100).toPrecision(3))}% (${formatCount(all.refused)} of ${formatCount(messages)})`
    const firstWrong = isTooHigh(refusedShare, share) ? all.firstRefused : undefined
    unmet.push({ path: 'refusedShare', expected: refusedShare.text, seen, firstWrong })
  }
  for (const [name, counts] of Object.entries(rules)) {
    const path = `rules[${JSON.stringify(name)}].`
    unmet.push(...checkCounts(path, counts, totals.rule(name)))
    unmet.push(...checkTotal(`${path}shadow`, counts.shadow, totals.rule(name).shadow))
  }
  for (const [name, count] of Object.entries(exemptions))
    unmet.push(...checkTotal(`exemptions[${JSON.stringify(name)}]`, count, totals.exemption(name).allowed))
  for (const [id, counts] of Object.entries(senders))
    unmet.push(...checkCounts(`senders[${JSON.stringify(id)}].`, counts, totals.sender(id)))
  return unmet
}

interface ExpectedCounts {
  readonly allowed?: Comparison | undefined
  readonly refused?: Comparison | undefined
}

function checkCounts(path: string, expected: ExpectedCounts, count: DecisionCount): readonly Unmet[] {
  const { allowed, refused } = expected
  const isLow = allowed !== undefined && isTooLow(allowed, count.allowed)
  const isHigh = refused !== undefined && isTooHigh(refused, count.refused)
  return [
    ...checkTotal(`${path}allowed`, allowed, count.allowed, isLow ? count.firstRefused : undefined),
    ...checkTotal(`${path}refused`, refused, count.refused, isHigh ? count.firstRefused : undefined),
  ]
}

function checkTotal(
  path: string,
  expected: Comparison | undefined,
  seen: number,
  firstWrong?: number,
): readonly Unmet[] {
  if (expected === undefined || holds(expected, seen)) return []
  return [{ path, expected: expected.text, seen: formatCount(seen), firstWrong }]
}

/** Compares the number of decisions that `counts` selects. */
function checkCount(
  path: string,
  expected: Comparison,
  decisions: readonly TestDecision[],
  counts: (decision: TestDecision) => boolean,
): readonly Unmet[] {
  const counted = decisions.filter(counts)
  const seen = counted.length
  if (holds(expected, seen)) return []
  const others = decisions.filter(each => !counts(each))
  const wrong = isTooHigh(expected, seen)
    ? counted.find((_, index) => isTooHigh(expected, index + 1))
    : path === 'allowed'
      ? others[0]
      : // The first of the others after which too few are left.
        others.find((_, index) => isTooLow(expected, decisions.length - index - 1))
  return [{ path, expected: expected.text, seen: formatCount(seen), firstWrong: wrong?.nth }]
}

/** Checks that a text is the same for all decisions, of which there must be some. */
function checkEach(
  path: string,
  expected: string,
  decisions: readonly TestDecision[],
  read: (decision: TestDecision) => string,
): readonly Unmet[] {
  const wrong = decisions.find(each => read(each) !== expected)
  if (wrong === undefined && decisions.length > 0) return []
  const counts = new Map<string, number>()
  for (const each of decisions) counts.set(read(each), (counts.get(read(each)) ?? 0) + 1)
  const seen = [...counts].map(([text, count]) =>
    counts.size === 1 ? text : `${text} ${formatCount(count)}×`,
  )
  return [{ path, expected, seen: seen.join(', ') || 'no such message', firstWrong: wrong?.nth }]
}

function checkWaits(expected: Comparison, refusals: readonly TestDecision[]): readonly Unmet[] {
  const wrong = refusals.find(({ decision }) => !holds(expected, decision.retryAfterMs))
  if (wrong === undefined && refusals.length > 0) return []
  const seen = wrong === undefined ? 'no refused message' : formatExactWait(wrong.decision.retryAfterMs)
  return [{ path: 'retryAfter', expected: expected.text, seen, firstWrong: wrong?.nth }]
}
