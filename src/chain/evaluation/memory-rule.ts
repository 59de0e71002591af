import { toGrains } from '../../algorithms/limit-types.ts'
import type { Message } from '../../core/message.ts'
import type { KeyTable } from '../../stores/memory/key-table.ts'
import type { MemoryStore } from '../../stores/memory/memory-store.ts'
import type { SlotRecords } from '../../stores/memory/slot-records.ts'
import type { RuleInPlan } from '../routing/plan-steps.ts'
import type { Rule } from '../rules/create-limit-middleware.ts'
import { keyOf } from '../rules/rule-key.ts'
import type { SenderState } from '../senders/sender-state.ts'
import type { RuleVerdict } from './combine-verdicts.ts'

/** Marks a rule whose cost varies from message to message. */
export const VARIABLE_COST = -1

/** A rule of a memory evaluator, with the results for the current message. Reused for every message. */
export class MemoryRuleEvaluation implements RuleVerdict {
  readonly rule: Rule
  readonly planned: RuleInPlan
  readonly table: KeyTable
  readonly records: SlotRecords
  readonly fixedGrains: number
  /** Index of its slot in a sender state. */
  readonly index: number
  readonly soft: boolean
  readonly shadow: boolean
  slot = 0
  grains = 0
  allowed = false
  remaining = 0
  retryAfterMs = 0
  resetMs = 0

  constructor(planned: RuleInPlan, store: MemoryStore) {
    const { rule } = planned
    this.rule = rule
    this.planned = planned
    this.table = store.table(rule.limit)
    this.records = this.table.records
    this.fixedGrains = rule.cost.fixed === undefined ? VARIABLE_COST : toGrains(rule.cost.fixed, rule.limit)
    this.index = planned.index
    this.soft = rule.soft
    this.shadow = rule.shadow
  }

  /** Returns the cost of a message, if it varies. */
  grainsOf(message: Message): number {
    return toGrains(this.rule.cost.unitsOf(message), this.rule.limit)
  }

  /** Looks up the slot of the message's key and caches it in the sender state. */
  findSlot(message: Message, senderState: SenderState, nowMs: number): number {
    const slot = this.table.acquire(keyOf(this.planned, message, senderState.identity), nowMs)
    if (!this.rule.keys.changing) {
      senderState.setSlot(this.index, slot, this.table.generationOf(slot))
    }
    return slot
  }
}
