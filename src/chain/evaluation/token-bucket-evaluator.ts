import { deficitAt, settleAt, tokenBucket } from '../../algorithms/token-bucket.ts'
import type { Decision } from '../../core/decision.ts'
import type { Message } from '../../core/message.ts'
import { GENERATION, OWN, type Records } from '../../stores/memory/records.ts'
import type { SenderState } from '../senders/sender-state.ts'
import { allowDecision, denyDecision, isHarsher } from './combine-verdicts.ts'
import type { MemoryEvaluator } from './memory-evaluator.ts'
import type { MemoryRule } from './memory-rule.ts'

/** Rules whose slots are fields of a seat. */
const MOST = 4

/** A row of numbers a rule, a cache line long. The last two are of the message at hand. */
const ROW = 8
const STEPS_PER_MS = 0
const COST = 1
const CAPACITY = 2
const UNIT = 3
const UNITS = 4
const CHANGES = 5
const SLOT = 6
/** What is missing from the bucket, were the message to pass. */
const DEFICIT = 7

/**
 * Rules of the common kind, as nearly every policy's are: at most four hard token buckets, each message at a fixed cost
 * of no more than a unit. They decide as any plan does, on less memory: inside of a broker a decision finds the caches
 * full of the broker's own work and waits 5 ns for each line it touches, so that three rules took 250 ns there, twice of
 * what they take alone. Here their numbers stand in one array, and a rule's object is touched when all has been decided.
 */
export class TokenBucketEvaluator {
  readonly kind = 'buckets'
  readonly #records: readonly Records[]
  readonly #rows: Float64Array
  readonly #rules: readonly MemoryRule[]
  readonly #plan: MemoryEvaluator

  /** `plan` decides where the numbers are no more those the store counts by. */
  private constructor(rules: readonly MemoryRule[], plan: MemoryEvaluator) {
    this.#rules = rules
    this.#records = rules.map(({ records }) => records)
    this.#rows = new Float64Array(ROW * rules.length)
    this.#plan = plan
    rules.forEach(({ rule: { limit }, fixedGrains, records }, index) => {
      const { stepsPerMs, stepsPerGrain, capacitySteps, capacity } = limit
      const unit = stepsPerGrain * limit.scale
      const row = [stepsPerMs, fixedGrains * stepsPerGrain, capacitySteps, unit, capacity, records.changes]
      this.#rows.set(row, ROW * index)
    })
  }

  /** Undefined for rules of another kind. */
  static of(rules: readonly MemoryRule[], plan: MemoryEvaluator): TokenBucketEvaluator | undefined {
    const isCommon = ({ rule, fixedGrains, soft, place }: MemoryRule, index: number): boolean =>
      rule.limit.kernel === tokenBucket &&
      fixedGrains >= 0 &&
      fixedGrains <= rule.limit.scale &&
      !soft &&
      rule.warn === undefined &&
      rule.when === undefined &&
      place === index
    const areCommon = rules.length > 0 && rules.length <= MOST && rules.every(isCommon)
    return areCommon ? new TokenBucketEvaluator(rules, plan) : undefined
  }

  /** All are asked before any is charged; what one refuses, none is charged for. */
  decide(message: Message, senderState: SenderState, nowMs: number): Decision {
    const records = this.#records
    const rows = this.#rows
    let fits = true
    for (let index = 0, row = 0; index < records.length; index++, row += ROW) {
      const own = records[index]!
      let slot: number
      let generation: number
      // Two calls a rule would cost 8 ns of a message with three.
      switch (index) {
        case 0:
          slot = senderState.slot0
          generation = senderState.generation0
          break
        case 1:
          slot = senderState.slot1
          generation = senderState.generation1
          break
        case 2:
          slot = senderState.slot2
          generation = senderState.generation2
          break
        default:
          slot = senderState.slot3
          generation = senderState.generation3
      }
      // Another gate of the same store has changed the rule.
      if (own.changes !== rows[row + CHANGES]) return this.#plan.decide(message, senderState, nowMs)
      let cells = own.chunkOf(slot)
      let at = own.placeOf(slot)
      if (cells?.[at + GENERATION] !== generation) {
        slot = this.#rules[index]!.seek(message, senderState, nowMs)
        cells = own.chunkOf(slot)!
        at = own.placeOf(slot)
      }
      const deficit = deficitAt(cells!, at + OWN, nowMs, rows[row + STEPS_PER_MS]!) + rows[row + COST]!
      rows[row + SLOT] = slot
      rows[row + DEFICIT] = deficit
      if (deficit > rows[row + CAPACITY]!) fits = false
    }
    return fits ? this.#take(nowMs) : this.#refuse()
  }

  /** What is told is the rule nearest to its limit, the first on a tie: only its numbers are worked out. */
  #take(nowMs: number): Decision {
    const records = this.#records
    const rows = this.#rows
    let tightest = 0
    let remaining = Infinity
    let units = 1
    for (let index = 0, row = 0; index < records.length; index++, row += ROW) {
      const own = records[index]!
      const slot = rows[row + SLOT]!
      const deficit = rows[row + DEFICIT]!
      settleAt(own.chunkOf(slot)!, own.placeOf(slot) + OWN, nowMs, deficit)
      const left = Math.floor((rows[row + CAPACITY]! - deficit) / rows[row + UNIT]!)
      const most = rows[row + UNITS]!
      if (left * units >= remaining * most) continue
      tightest = index
      remaining = left
      units = most
    }
    const one = this.#rules[tightest]!
    one.remaining = remaining
    one.resetMs = Math.ceil(rows[ROW * tightest + DEFICIT]! / rows[ROW * tightest + STEPS_PER_MS]!)
    return allowDecision(one, undefined)
  }

  #refuse(): Decision {
    const rows = this.#rows
    let worst: MemoryRule | undefined
    let longestMs = 0
    for (let index = 0, row = 0; index < this.#rules.length; index++, row += ROW) {
      const missing = rows[row + DEFICIT]! - rows[row + CAPACITY]!
      if (missing <= 0) continue
      const one = this.#rules[index]!
      one.retryAfterMs = Math.ceil(missing / rows[row + STEPS_PER_MS]!)
      if (one.retryAfterMs > longestMs) longestMs = one.retryAfterMs
      if (worst !== undefined && !isHarsher(one, worst)) continue
      worst = one
      // A unit does not fit, so there is no whole one left.
      one.remaining = 0
      one.resetMs = Math.ceil((rows[row + DEFICIT]! - rows[row + COST]!) / rows[row + STEPS_PER_MS]!)
    }
    return denyDecision(worst!, longestMs, undefined)
  }
}
