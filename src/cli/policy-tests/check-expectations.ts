import { type Comparison, isSatisfied, isTooHigh, isTooLow } from '../documents/comparison.ts'
import { formatCount, formatExactWait } from '../terminal/format.ts'
import type { DecisionCount, DecisionTotals } from './decision-totals.ts'
import { NO_EXEMPTION, type SendExpectation, type TotalsExpectation } from './test-file-format.ts'
import type { TestDecision } from './test-player.ts'

/** An expectation that was not met. */
export interface UnmetTestExpectation {
  /** Path below `expect`, such as `rules.daily.refused`. */
  readonly path: string
  readonly expected: string
  readonly seen: string
  /** Number of the first wrong message in the test; undefined if none can be named. */
  readonly firstWrong?: number | undefined
}

/** Compares decisions with an expectation as they are made, so that none is kept. */
interface DecisionCheck {
  record(decision: TestDecision): void
  findUnmet(): readonly UnmetTestExpectation[]
}

/** Creates the check of a step that sends so many messages. */
export function createSendCheck(expected: SendExpectation, messages: number): DecisionCheck {
  const { allowed, refused, by, exemption, outcome, reason, retryAfter, shadow = {} } = expected
  const checks: DecisionCheck[] = []
  if (allowed !== undefined) checks.push(new CountCheck('allowed', allowed, messages, isAllowed))
  if (refused !== undefined) checks.push(new CountCheck('refused', refused, messages, isRefused))
  if (by !== undefined) {
    checks.push(new TextCheck('by', by, isRefused, ({ decision }) => decision.rule ?? decision.reason))
  }
  if (exemption !== undefined) {
    checks.push(
      new TextCheck('exemption', exemption, isAny, ({ decision }) => decision.exemption ?? NO_EXEMPTION),
    )
  }
  if (outcome !== undefined) {
    const selects = outcome === 'deliver' ? isAny : isChanged
    checks.push(new TextCheck('outcome', outcome, selects, ({ decision }) => decision.outcome))
  }
  if (reason !== undefined) checks.push(new ReasonCheck(reason))
  if (retryAfter !== undefined) checks.push(new WaitCheck(retryAfter))
  for (const [rule, count] of Object.entries(shadow)) {
    const isInShadow = ({ decision }: TestDecision): boolean => decision.shadow?.includes(rule) === true
    checks.push(new CountCheck(`shadow[${JSON.stringify(rule)}]`, count, messages, isInShadow))
  }
  return {
    record(decision) {
      for (const check of checks) check.record(decision)
    },
    findUnmet: () => checks.flatMap(check => check.findUnmet()),
  }
}

type SelectDecision = (decision: TestDecision) => boolean

const isAny: SelectDecision = () => true
const isAllowed: SelectDecision = ({ decision }) => decision.allowed
const isRefused: SelectDecision = ({ decision }) => !decision.allowed
const isChanged: SelectDecision = ({ decision }) => decision.outcome !== 'deliver'

/** Compares the totals of a test with its expectation. */
export function checkTotalsExpectation(
  expected: TotalsExpectation,
  totals: DecisionTotals,
): readonly UnmetTestExpectation[] {
  const { all } = totals
  const messages = all.allowed + all.refused
  const { refusedShare, rules = {}, exemptions = {}, senders = {} } = expected
  const unmet = [...checkTotal('messages', expected.messages, messages), ...checkCounts('', expected, all)]
  const share = messages === 0 ? 0 : all.refused / messages
  if (refusedShare !== undefined && !isSatisfied(refusedShare, share)) {
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

function checkCounts(
  path: string,
  expected: ExpectedCounts,
  count: DecisionCount,
): readonly UnmetTestExpectation[] {
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
): readonly UnmetTestExpectation[] {
  if (expected === undefined || isSatisfied(expected, seen)) return []
  return [{ path, expected: expected.text, seen: formatCount(seen), firstWrong }]
}

/** Compares the number of decisions that `counts` selects. */
class CountCheck implements DecisionCheck {
  readonly #path: string
  readonly #expected: Comparison
  readonly #messages: number
  readonly #counts: SelectDecision
  #counted = 0
  #others = 0
  #firstTooMany: number | undefined
  #firstTooFew: number | undefined

  constructor(path: string, expected: Comparison, messages: number, counts: SelectDecision) {
    this.#path = path
    this.#expected = expected
    this.#messages = messages
    this.#counts = counts
  }

  record(each: TestDecision): void {
    if (this.#counts(each)) {
      this.#counted++
      if (isTooHigh(this.#expected, this.#counted)) this.#firstTooMany ??= each.nth
      return
    }
    this.#others++
    // Of messages that should pass the first refused one is wrong, else the first after which too few are left.
    const isWrong = this.#path === 'allowed' || isTooLow(this.#expected, this.#messages - this.#others)
    if (isWrong) this.#firstTooFew ??= each.nth
  }

  findUnmet(): readonly UnmetTestExpectation[] {
    const [expected, seen] = [this.#expected, this.#counted]
    if (isSatisfied(expected, seen)) return []
    const firstWrong = isTooHigh(expected, seen) ? this.#firstTooMany : this.#firstTooFew
    return [{ path: this.#path, expected: expected.text, seen: formatCount(seen), firstWrong }]
  }
}

/** Checks that a text is the same for all selected decisions, of which there must be some. */
class TextCheck implements DecisionCheck {
  readonly #path: string
  readonly #expected: string
  readonly #selects: SelectDecision
  readonly #read: (decision: TestDecision) => string
  readonly #counts = new Map<string, number>()
  #firstWrong: number | undefined

  constructor(
    path: string,
    expected: string,
    selects: SelectDecision,
    read: (decision: TestDecision) => string,
  ) {
    this.#path = path
    this.#expected = expected
    this.#selects = selects
    this.#read = read
  }

  get hasDecisions(): boolean {
    return this.#counts.size > 0
  }

  record(each: TestDecision): void {
    if (!this.#selects(each)) return
    const text = this.#read(each)
    this.#counts.set(text, (this.#counts.get(text) ?? 0) + 1)
    if (text !== this.#expected) this.#firstWrong ??= each.nth
  }

  findUnmet(): readonly UnmetTestExpectation[] {
    const firstWrong = this.#firstWrong
    if (firstWrong === undefined && this.hasDecisions) return []
    const isOne = this.#counts.size === 1
    const seen = [...this.#counts].map(([text, count]) => (isOne ? text : `${text} ${formatCount(count)}×`))
    const expected = this.#expected
    return [{ path: this.#path, expected, seen: seen.join(', ') || 'no such message', firstWrong }]
  }
}

/** Checks the reason of messages that were not delivered as they are, of all if there is none. */
class ReasonCheck implements DecisionCheck {
  readonly #ofChanged: TextCheck
  readonly #ofAll: TextCheck

  constructor(expected: string) {
    const readReason = ({ decision }: TestDecision): string => decision.reason
    this.#ofChanged = new TextCheck('reason', expected, isChanged, readReason)
    this.#ofAll = new TextCheck('reason', expected, isAny, readReason)
  }

  record(each: TestDecision): void {
    this.#ofChanged.record(each)
    this.#ofAll.record(each)
  }

  findUnmet(): readonly UnmetTestExpectation[] {
    return (this.#ofChanged.hasDecisions ? this.#ofChanged : this.#ofAll).findUnmet()
  }
}

/** Checks the wait of every refused message, of which there must be some. */
class WaitCheck implements DecisionCheck {
  readonly #expected: Comparison
  #hasRefusals = false
  #firstWrong: TestDecision | undefined

  constructor(expected: Comparison) {
    this.#expected = expected
  }

  record(each: TestDecision): void {
    if (each.decision.allowed) return
    this.#hasRefusals = true
    if (!isSatisfied(this.#expected, each.decision.retryAfterMs)) this.#firstWrong ??= each
  }

  findUnmet(): readonly UnmetTestExpectation[] {
    const wrong = this.#firstWrong
    if (wrong === undefined && this.#hasRefusals) return []
    const seen = wrong === undefined ? 'no refused message' : formatExactWait(wrong.decision.retryAfterMs)
    return [{ path: 'retryAfter', expected: this.#expected.text, seen, firstWrong: wrong?.nth }]
  }
}
