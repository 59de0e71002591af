import { toGrains } from '../algorithms/limit.ts'
import { type Decision, PASSED } from '../decision.ts'
import type { Message } from '../message.ts'
import type { Records } from '../stores/memory/records.ts'
import type { Table } from '../stores/memory/table.ts'
import type { MemoryStore } from '../stores/memory.ts'
import { holdsFor } from './exempt.ts'
import { type Charged, fold, isHarsher, isTighter, pass, refusal, shadowNames } from './fold.ts'
import { keyOf } from './key.ts'
import type { Rule } from './limit.ts'
import type { Seat } from './seat.ts'
import type { ExemptStep, PlannedRule } from './steps.ts'
import type { Warner } from './warn.ts'

/** Grains of a rule whose cost differs from message to message. */
const VARIABLE = -1

/** One rule of a fused plan, with room for what it finds about the message at hand: used again for every message. */
class FusedRule implements Charged {
  readonly rule: Rule
  readonly planned: PlannedRule
  readonly table: Table
  readonly records: Records
  readonly fixedGrains: number
  /** Its place among the slots of a seat. */
  readonly place: number
  readonly soft: boolean
  readonly shadow: boolean
  slot = 0
  grains = 0
  allowed = false
  remaining = 0
  retryAfterMs = 0
  resetMs = 0

  constructor(planned: PlannedRule, store: MemoryStore) {
    const { rule } = planned
    this.rule = rule
    this.planned = planned
    this.table = store.table(rule.limit)
    this.records = this.table.records
    this.fixedGrains = rule.cost.fixed === undefined ? VARIABLE : toGrains(rule.cost.fixed, rule.limit)
    this.place = planned.index
    this.soft = rule.soft
    this.shadow = rule.shadow
  }

  /** The slot of the message's key, found by its string and kept on the seat. */
  seek(message: Message, seat: Seat, nowMs: number): number {
    const slot = this.table.acquire(keyOf(this.planned, message, seat.identity), nowMs)
    if (!this.rule.keys.changing) {
      seat.keep(this.place, slot, this.table.generationOf(slot))
    }
    return slot
  }
}

/** Finds the record of each rule. All before any is asked: so the cache misses of many senders overlap. */
function find(rules: readonly FusedRule[], message: Message, seat: Seat, nowMs: number): void {
  for (let index = 0; index < rules.length; index++) {
    const one = rules[index]!
    const { place } = one
    let slot: number
    let generation: number
    // Two calls a rule would cost 8 ns of a message with three.
    switch (place) {
      case 0:
        slot = seat.slot0
        generation = seat.generation0
        break
      case 1:
        slot = seat.slot1
        generation = seat.generation1
        break
      case 2:
        slot = seat.slot2
        generation = seat.generation2
        break
      default:
        slot = seat.slotOf(place)
        generation = seat.generationOf(place)
    }
    one.slot = one.records.isOf(slot, generation) ? slot : one.seek(message, seat, nowMs)
  }
}

/**
 * Charges rules together in the memory store: the fast path. It makes one object a message, its decision. All rules
 * are asked before any is charged: a denied message charges nothing. What denied is known when all have been asked,
 * and what is nearest to its limit when all are charged, so only soft rules need a fold.
 */
function charge(rules: readonly FusedRule[], message: Message, seat: Seat, nowMs: number): Decision {
  find(rules, message, seat, nowMs)
  let worst: FusedRule | undefined
  let retryAfterMs = 0
  let softly = false
  let shadowed = false
  for (let index = 0; index < rules.length; index++) {
    const one = rules[index]!
    let grains = one.fixedGrains
    if (grains === VARIABLE) grains = toGrains(one.rule.cost.unitsOf(message), one.rule.limit)
    one.grains = grains
    const waitMs = one.records.probe(one.slot, nowMs, grains, one)
    if (waitMs === 0) continue
    if (one.soft) {
      softly = true
      if (one.shadow) shadowed = true
      continue
    }
    if (waitMs > retryAfterMs) retryAfterMs = waitMs
    if (worst === undefined || isHarsher(one, worst)) worst = one
  }
  if (worst !== undefined) return refusal(worst, retryAfterMs, shadowed ? shadowNames(rules) : undefined)
  let tightest: FusedRule | undefined
  for (let index = 0; index < rules.length; index++) {
    const one = rules[index]!
    if (!one.allowed) continue
    one.records.take(one.slot, nowMs, one.grains)
    if (one.shadow) continue
    if (tightest === undefined || isTighter(one, tightest)) tightest = one
  }
  return softly || tightest === undefined ? fold(rules) : pass(tightest, undefined)
}

/** A chain of exemptions followed by limits, on the memory store: decided at once, without a promise. */
export class FusedPlan {
  readonly kind = 'fused'
  readonly #own: ReadonlyMap<ExemptStep, readonly FusedRule[]>
  readonly #rules: readonly FusedRule[]
  readonly #passed: Decision
  /** Rules that warn; without them nobody asks. */
  readonly #warning: readonly FusedRule[] | undefined
  readonly #warner: Warner

  /** `passed` is the decision where no rule applies. */
  constructor(
    exempts: readonly ExemptStep[],
    rules: readonly PlannedRule[],
    store: MemoryStore,
    warner: Warner,
    passed: Decision = PASSED,
  ) {
    this.#passed = passed
    this.#warner = warner
    const bounded = exempts.filter(step => step.own !== undefined)
    this.#own = new Map(bounded.map(step => [step, [new FusedRule(step.own!, store)]]))
    this.#rules = rules.map(planned => new FusedRule(planned, store))
    const warning = this.#rules.filter(({ rule }) => rule.warn !== undefined)
    this.#warning = warning.length > 0 ? warning : undefined
  }

  decide(message: Message, seat: Seat, nowMs: number): Decision {
    const { exempt, conditional } = seat.ruling!
    if (exempt !== undefined) return exempt
    for (let index = 0; index < conditional.length; index++) {
      const step = conditional[index]!
      if (!holdsFor(step.station, message, nowMs)) continue
      const own = this.#own.get(step)
      if (own === undefined || charge(own, message, seat, nowMs).allowed) return step.station.decision
    }
    if (this.#rules.length === 0) return this.#passed
    const decision = charge(this.#rules, message, seat, nowMs)
    if (this.#warning !== undefined && decision.allowed) this.#warn(this.#warning, message, seat, nowMs)
    return decision
  }

  #warn(rules: readonly FusedRule[], message: Message, seat: Seat, nowMs: number): void {
    for (const one of rules) {
      if (!one.allowed) continue
      this.#warner.note(one.rule, one, () => keyOf(one.planned, message, seat.identity), nowMs)
    }
  }
}
