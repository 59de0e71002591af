import { deficitAt, setDeficitAt, tokenBucketKernel } from '../../algorithms/token-bucket.ts'
import { holdsFor } from '../../conditions/condition.ts'
import type { Decision } from '../../core/decision.ts'
import type { Message } from '../../core/message.ts'
import { GENERATION_INDEX, OWN_CELLS_OFFSET } from '../../stores/memory/slot-records.ts'
import { keyOf } from '../rules/rule-key.ts'
import { hasReachedShare, type UsageWarnings } from '../rules/usage-warning.ts'
import type { SenderState } from '../senders/sender-state.ts'
import {
  allowDecision,
  combineVerdicts,
  denyDecision,
  findShadowRefusals,
  isHarsherVerdict,
} from './combine-verdicts.ts'
import { type MemoryRuleEvaluation, VARIABLE_COST } from './memory-rule.ts'

/** Numbers per rule, one cache line. The last three belong to the current message. */
const ROW = 8
const STEPS_PER_MS = 0
const CAPACITY_STEPS = 1
const STEPS_PER_UNIT = 2
const CAPACITY_UNITS = 3
/** Number of changes of the limit when the row was written, or {@link OTHER_ALGORITHM}. */
const CHANGES = 4
const COST_STEPS = 5
const SLOT = 6
/** Missing from the bucket before the message. */
const DEFICIT = 7

/** Marks a rule that is not a token bucket. */
const OTHER_ALGORITHM = -1
/** Marks a rule whose condition does not match the message. */
const NOT_APPLICABLE = -1

const NO_NAMES: readonly string[] = []

/**
 * Charges adjacent limits together in the memory store. Allocates one object per message, its decision. All rules
 * are probed before any is charged, so a denied message charges nothing. Token buckets, the usual algorithm, are
 * computed here from one array of numbers. Others, and limits that the store has changed since, use their kernel.
 */
export class MemoryStoreLimitsEvaluator {
  readonly #rules: readonly MemoryRuleEvaluation[]
  readonly #rows: Float64Array
  /** True if a rule has a condition. Otherwise, conditions are not evaluated. */
  readonly #isConditional: boolean
  /** Indexes of rules with usage warnings; undefined if there are none. */
  readonly #warning: readonly number[] | undefined
  readonly #usageWarnings: UsageWarnings

  constructor(rules: readonly MemoryRuleEvaluation[], usageWarnings: UsageWarnings) {
    this.#rules = rules
    this.#usageWarnings = usageWarnings
    this.#isConditional = rules.some(({ rule }) => rule.when !== undefined)
    const warning = rules.flatMap(({ rule }, index) => (rule.warn === undefined ? [] : [index]))
    this.#warning = warning.length > 0 ? warning : undefined
    this.#rows = new Float64Array(ROW * rules.length)
    rules.forEach(({ rule: { limit }, fixedGrains, records }, index) => {
      const { kernel, scale, stepsPerMs, stepsPerGrain, capacitySteps, capacity } = limit
      const changes = kernel === tokenBucketKernel ? records.changes : OTHER_ALGORITHM
      const cost = fixedGrains === VARIABLE_COST ? 0 : fixedGrains * stepsPerGrain
      const row = [stepsPerMs, capacitySteps, stepsPerGrain * scale, capacity, changes, cost]
      this.#rows.set(row, ROW * index)
    })
  }

  /** Returns `passed` if no rule applies. */
  decide(message: Message, senderState: SenderState, nowMs: number, passed: Decision): Decision {
    const rules = this.#rules
    const rows = this.#rows
    let isExceeded = false
    let isSoftlyExceeded = false
    for (let index = 0, row = 0; index < rules.length; index++, row += ROW) {
      const evaluation = rules[index]!
      if (this.#isConditional && !holdsFor(evaluation.rule, message, nowMs)) {
        rows[row + SLOT] = NOT_APPLICABLE
        continue
      }
      const { records, index: ruleIndex } = evaluation
      let slot = senderState.slotOf(ruleIndex)
      let cells = records.chunkOf(slot)
      let at = records.offsetOf(slot)
      if (cells?.[at + GENERATION_INDEX] !== senderState.generationOf(ruleIndex)) {
        slot = evaluation.findSlot(message, senderState, nowMs)
        cells = records.chunkOf(slot)!
        at = records.offsetOf(slot)
      }
      rows[row + SLOT] = slot
      let fits: boolean
      if (records.changes === rows[row + CHANGES]) {
        if (evaluation.fixedGrains === VARIABLE_COST)
          rows[row + COST_STEPS] = evaluation.grainsOf(message) * evaluation.rule.limit.stepsPerGrain
        const deficit = deficitAt(cells!, at + OWN_CELLS_OFFSET, nowMs, rows[row + STEPS_PER_MS]!)
        rows[row + DEFICIT] = deficit
        fits = deficit + rows[row + COST_STEPS]! <= rows[row + CAPACITY_STEPS]!
      } else {
        evaluation.grains =
          evaluation.fixedGrains === VARIABLE_COST ? evaluation.grainsOf(message) : evaluation.fixedGrains
        fits = records.probe(slot, nowMs, evaluation.grains, evaluation) === 0
      }
      if (fits) continue
      if (evaluation.soft) isSoftlyExceeded = true
      else isExceeded = true
    }
    if (isExceeded) return this.#refuse(nowMs, isSoftlyExceeded)
    const tightest = this.#chargeAll(nowMs, isSoftlyExceeded)
    if (this.#warning !== undefined) this.#warn(this.#warning, message, senderState, nowMs)
    return isSoftlyExceeded || tightest === undefined
      ? combineVerdicts(this.#verdicts(nowMs), passed)
      : allowDecision(tightest, undefined)
  }

  /** Charges all rules that allow the message. Returns the one nearest to its limit, the first on a tie. */
  #chargeAll(nowMs: number, isSoftlyExceeded: boolean): MemoryRuleEvaluation | undefined {
    const rules = this.#rules
    const rows = this.#rows
    let tightest = NOT_APPLICABLE
    let remaining = Infinity
    let units = 1
    for (let index = 0, row = 0; index < rules.length; index++, row += ROW) {
      const slot = rows[row + SLOT]!
      if (slot === NOT_APPLICABLE) continue
      const evaluation = rules[index]!
      const { records } = evaluation
      let left: number
      if (records.changes === rows[row + CHANGES]) {
        const deficit = rows[row + DEFICIT]! + rows[row + COST_STEPS]!
        const free = rows[row + CAPACITY_STEPS]! - deficit
        if (isSoftlyExceeded && free < 0) continue
        setDeficitAt(records.chunkOf(slot)!, records.offsetOf(slot) + OWN_CELLS_OFFSET, nowMs, deficit)
        if (evaluation.shadow) continue
        left = Math.floor(free / rows[row + STEPS_PER_UNIT]!)
      } else {
        if (!evaluation.allowed) continue
        records.charge(slot, nowMs, evaluation.grains)
        if (evaluation.shadow) continue
        left = evaluation.remaining
      }
      const capacityUnits = rows[row + CAPACITY_UNITS]!
      if (left * units >= remaining * capacityUnits) continue
      tightest = index
      remaining = left
      units = capacityUnits
    }
    if (tightest === NOT_APPLICABLE) return undefined
    const evaluation = rules[tightest]!
    const row = ROW * tightest
    if (evaluation.records.changes === rows[row + CHANGES]) {
      evaluation.remaining = remaining
      evaluation.resetMs = Math.ceil(
        (rows[row + DEFICIT]! + rows[row + COST_STEPS]!) / rows[row + STEPS_PER_MS]!,
      )
    }
    return evaluation
  }

  #refuse(nowMs: number, isSoftlyExceeded: boolean): Decision {
    const rules = this.#rules
    const rows = this.#rows
    let harshest: MemoryRuleEvaluation | undefined
    let retryAfterMs = 0
    for (let index = 0, row = 0; index < rules.length; index++, row += ROW) {
      if (rows[row + SLOT] === NOT_APPLICABLE) continue
      const evaluation = rules[index]!
      if (evaluation.records.changes === rows[row + CHANGES]) {
        if (rows[row + DEFICIT]! + rows[row + COST_STEPS]! <= rows[row + CAPACITY_STEPS]!) continue
        this.#judgeBucket(evaluation, row, nowMs)
      } else if (evaluation.allowed) continue
      if (evaluation.soft) continue
      if (evaluation.retryAfterMs > retryAfterMs) retryAfterMs = evaluation.retryAfterMs
      if (harshest === undefined || isHarsherVerdict(evaluation, harshest)) harshest = evaluation
    }
    const shadow = isSoftlyExceeded ? findShadowRefusals(this.#verdicts(nowMs)) : NO_NAMES
    return denyDecision(harshest!, retryAfterMs, shadow.length === 0 ? undefined : shadow)
  }

  /** Returns all rules that apply, each with its verdict. */
  #verdicts(nowMs: number): readonly MemoryRuleEvaluation[] {
    const rows = this.#rows
    this.#rules.forEach((evaluation, index) => {
      const row = ROW * index
      if (evaluation.records.changes === rows[row + CHANGES] && rows[row + SLOT] !== NOT_APPLICABLE)
        this.#judgeBucket(evaluation, row, nowMs)
    })
    return this.#isConditional
      ? this.#rules.filter((_, index) => rows[ROW * index + SLOT] !== NOT_APPLICABLE)
      : this.#rules
  }

  /** Sets the verdict of a token bucket. */
  #judgeBucket(evaluation: MemoryRuleEvaluation, row: number, nowMs: number): void {
    const rows = this.#rows
    const deficit = rows[row + DEFICIT]!
    const cost = rows[row + COST_STEPS]!
    const capacity = rows[row + CAPACITY_STEPS]!
    const unit = rows[row + STEPS_PER_UNIT]!
    const stepsPerMs = rows[row + STEPS_PER_MS]!
    const free = capacity - (deficit + cost)
    evaluation.allowed = free >= 0
    if (evaluation.allowed) {
      evaluation.remaining = Math.floor(free / unit)
      evaluation.retryAfterMs = 0
      evaluation.resetMs = Math.ceil((deficit + cost) / stepsPerMs)
      return
    }
    // If a single unit does not fit, no whole unit remains.
    const left = cost <= unit ? 0 : capacity - deficit
    evaluation.remaining = left > 0 ? Math.floor(left / unit) : 0
    evaluation.retryAfterMs = cost > capacity ? Infinity : Math.ceil(-free / stepsPerMs)
    evaluation.resetMs = Math.ceil(deficit / stepsPerMs)
    if (cost > unit && evaluation.retryAfterMs !== Infinity)
      evaluation.records.holdRefusal(rows[row + SLOT]!, nowMs + evaluation.retryAfterMs)
  }

  #warn(warning: readonly number[], message: Message, senderState: SenderState, nowMs: number): void {
    const rows = this.#rows
    for (const index of warning) {
      const evaluation = this.#rules[index]!
      const row = ROW * index
      if (rows[row + SLOT] === NOT_APPLICABLE) continue
      if (evaluation.records.changes === rows[row + CHANGES]) this.#judgeBucket(evaluation, row, nowMs)
      if (!evaluation.allowed || !hasReachedShare(evaluation.rule, evaluation.remaining)) continue
      this.#usageWarnings.record(
        evaluation.rule,
        evaluation,
        () => keyOf(evaluation.planned, message, senderState.identity),
        nowMs,
      )
    }
  }
}
