import type { Verdict } from '../algorithms/kernel.ts'
import { toGrains } from '../algorithms/limit.ts'
import { type Decision, PASSED } from '../decision.ts'
import type { Message } from '../message.ts'
import type { Table } from '../stores/memory/table.ts'
import type { MemoryStore } from '../stores/memory.ts'
import { holdsFor } from './exempt.ts'
import { fold } from './fold.ts'
import { keyOf } from './key.ts'
import type { Rule } from './limit.ts'
import type { Binding } from './routes.ts'
import type { ExemptStep, PlannedRule } from './steps.ts'

/** Grains of a rule whose cost differs from message to message. */
const VARIABLE = -1

/**
 * Rules charged together in the memory store: the fast path. It makes one object a message, its decision; slots come
 * from the binding, costs and verdicts go to arrays that are used again for every message.
 */
class FusedRules {
  readonly #planned: readonly PlannedRule[]
  readonly #rules: readonly Rule[]
  readonly #tables: readonly Table[]
  readonly #fixed: readonly number[]
  readonly #slots: number[]
  readonly #grains: number[]
  readonly #verdicts: readonly Verdict[]

  constructor(planned: readonly PlannedRule[], store: MemoryStore) {
    this.#planned = planned
    this.#rules = planned.map(({ rule }) => rule)
    this.#tables = this.#rules.map(rule => store.table(rule.limit))
    this.#fixed = this.#rules.map(rule =>
      rule.cost.fixed === undefined ? VARIABLE : toGrains(rule.cost.fixed, rule.limit),
    )
    this.#slots = planned.map(() => 0)
    this.#grains = planned.map(() => 0)
    this.#verdicts = planned.map(() => ({ allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }))
  }

  charge(message: Message, binding: Binding, nowMs: number): Decision {
    const count = this.#rules.length
    let denied = false
    for (let index = 0; index < count; index++) {
      const rule = this.#rules[index]!
      const table = this.#tables[index]!
      const place = 2 * this.#planned[index]!.index
      let slot = binding.slots[place]!
      if (!table.holds(slot, binding.slots[place + 1]!)) slot = this.#seat(index, message, binding, nowMs)
      let grains = this.#fixed[index]!
      if (grains === VARIABLE) grains = toGrains(rule.cost.unitsOf(message), rule.limit)
      this.#slots[index] = slot
      this.#grains[index] = grains
      if (!table.probe(slot, nowMs, grains, this.#verdicts[index]!) && !rule.soft) denied = true
    }
    if (!denied) {
      for (let index = 0; index < count; index++) {
        if (!this.#verdicts[index]!.allowed) continue
        this.#tables[index]!.take(this.#slots[index]!, nowMs, this.#grains[index]!)
      }
    }
    return fold(this.#rules, this.#verdicts)
  }

  /** Finds the slot of a key by its string and keeps it on the binding. */
  #seat(index: number, message: Message, binding: Binding, nowMs: number): number {
    const planned = this.#planned[index]!
    const table = this.#tables[index]!
    const slot = table.acquire(keyOf(planned, message, binding.sender), nowMs)
    if (!planned.rule.keys.changing) {
      binding.slots[2 * planned.index] = slot
      binding.slots[2 * planned.index + 1] = table.generationOf(slot)
    }
    return slot
  }
}

/** A chain of exemptions followed by limits, on the memory store: decided at once, without a promise. */
export class FusedPlan {
  readonly #own: ReadonlyMap<ExemptStep, FusedRules>
  readonly #rules: FusedRules | undefined

  constructor(exempts: readonly ExemptStep[], rules: readonly PlannedRule[], store: MemoryStore) {
    const bounded = exempts.filter(step => step.own !== undefined)
    this.#own = new Map(bounded.map(step => [step, new FusedRules([step.own!], store)]))
    this.#rules = rules.length === 0 ? undefined : new FusedRules(rules, store)
  }

  decide(message: Message, binding: Binding, nowMs: number): Decision {
    if (binding.exempt !== undefined) return binding.exempt
    const { conditional } = binding
    for (let index = 0; index < conditional.length; index++) {
      const step = conditional[index]!
      if (!holdsFor(step.station, message, nowMs)) continue
      const own = this.#own.get(step)
      if (own === undefined || own.charge(message, binding, nowMs).allowed) return step.station.decision
    }
    return this.#rules === undefined ? PASSED : this.#rules.charge(message, binding, nowMs)
  }
}
