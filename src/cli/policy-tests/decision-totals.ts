import { parseSenderId, type SenderName } from '../../admin/sender-id.ts'
import type { Gate } from '../../index.ts'
import type { TotalsExpectation } from './test-file-format.ts'
import type { TestDecision } from './test-player.ts'

/** Counts of one rule, one sender or a whole test. */
export interface DecisionCount {
  allowed: number
  refused: number
  /** Refusals in shadow mode. */
  shadow: number
  /** Number of the first refused message in the test; undefined if there is none. */
  firstRefused?: number
}

/** Counts the decisions of a test: all, by rule, by exemption, and of the senders that it names. */
export class DecisionTotals {
  readonly all = createCount()
  readonly #rules = new Map<string, DecisionCount>()
  readonly #exemptions = new Map<string, DecisionCount>()
  readonly #senders: ReadonlyMap<string, SenderCount>

  constructor(expected: TotalsExpectation | undefined) {
    const ids = Object.keys(expected?.senders ?? {})
    this.#senders = new Map(
      ids.flatMap(id => {
        const name = parseSenderId(id)
        return name === undefined ? [] : [[id, { name, count: createCount() }]]
      }),
    )
  }

  /** Returns the counts of a rule that refused or would have, or of an exemption that let something pass. */
  rule(name: string): DecisionCount {
    return this.#rules.get(name) ?? createCount()
  }

  exemption(name: string): DecisionCount {
    return this.#exemptions.get(name) ?? createCount()
  }

  sender(id: string): DecisionCount {
    return this.#senders.get(id)?.count ?? createCount()
  }

  record({ decision, message, nth }: TestDecision, gate: Gate): void {
    const { allowed, rule, exemption, shadow } = decision
    countDecision(this.all, allowed, nth)
    if (rule !== undefined) countDecision(countIn(this.#rules, rule), allowed, nth)
    if (exemption !== undefined) countDecision(countIn(this.#exemptions, exemption), allowed, nth)
    for (const name of shadow ?? []) countIn(this.#rules, name).shadow++
    if (this.#senders.size === 0) return
    const sender = gate.senderOf(message)
    for (const { name, count } of this.#senders.values())
      if (sender[name.part] === name.value) countDecision(count, allowed, nth)
  }
}

interface SenderCount {
  readonly name: SenderName
  readonly count: DecisionCount
}

function createCount(): DecisionCount {
  return { allowed: 0, refused: 0, shadow: 0 }
}

function countIn(counts: Map<string, DecisionCount>, name: string): DecisionCount {
  let count = counts.get(name)
  if (count === undefined) {
    count = createCount()
    counts.set(name, count)
  }
  return count
}

function countDecision(count: DecisionCount, allowed: boolean, nth: number): void {
  if (allowed) count.allowed++
  else {
    count.refused++
    count.firstRefused ??= nth
  }
}
