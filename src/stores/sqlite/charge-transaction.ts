import type { Verdict } from '../../algorithms/limit-types.ts'
import { type Limit, toGrains } from '../../algorithms/limit-types.ts'
import type { Charge, StateSelector } from '../store.ts'
import { blobToBuffer, decodeText } from './encode-text.ts'
import type { SqliteKeyEvictor } from './evictor.ts'
import { isNewKey, OVERFLOW_KEY, RuleTransaction, type TransactionKeyState } from './rule-transaction.ts'
import type { Statements } from './statements.ts'

interface Asked {
  readonly charge: Charge
  readonly entry: TransactionKeyState
  readonly verdict: Verdict
  readonly grains: number
  /** True if a later charge of the same counter includes this one. */
  isAdded: boolean
}

/**
 * Reads and writes of one transaction. Decisions are valid once `write` was called and the transaction is committed.
 */
export class ChargeTransaction {
  readonly statements: Statements
  readonly #evictor: SqliteKeyEvictor
  readonly #ruleStates = new Map<string, RuleTransaction>()

  constructor(statements: Statements, evictor: SqliteKeyEvictor) {
    this.statements = statements
    this.#evictor = evictor
  }

  /** Probes all charges before it takes any; with `commit` takes all, or none if a hard one is denied. */
  decide(charges: readonly Charge[], commit: boolean, nowMs: number): Verdict[] {
    const asked: Asked[] = []
    let denied = false
    for (const charge of charges) {
      const { limit, key, cost, soft } = charge
      const ruleState = this.#ruleState(limit.name)
      const entry = commit
        ? this.#acquire(ruleState, key, limit, nowMs)
        : ruleState.entry(key, limit, nowMs, false)
      const verdict: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
      // Charges of the same rule and key add up: the last that fits is taken for all of them.
      const earlier = asked.findLast(one => one.verdict.allowed && isSameCounter(one.charge, charge))
      const grains = toGrains(cost, limit) + (earlier?.grains ?? 0)
      limit.kernel.probe(entry.cells, 0, nowMs, grains, limit, verdict)
      if (verdict.allowed && earlier !== undefined) earlier.isAdded = true
      if (!verdict.allowed && soft !== true) denied = true
      asked.push({ charge, entry, verdict, grains, isAdded: false })
    }
    for (const { entry, verdict, grains, isAdded } of commit ? asked : []) {
      if (isAdded) continue
      if (verdict.allowed && !denied) take(entry, grains, nowMs)
      else if (!recordRefusal(entry, verdict, nowMs)) continue
      this.#ruleState(entry.limit.name).touch(entry)
    }
    return asked.map(({ verdict }) => verdict)
  }

  /** Makes limits active from now on, for rules with stored state. */
  adopt(limits: readonly Limit[], nowMs: number): void {
    const names = new Set(this.#names())
    for (const limit of limits) if (names.has(limit.name)) this.#ruleState(limit.name).adopt(limit, nowMs)
  }

  /** Refunds what allowed decisions took. */
  refund(charges: readonly Charge[], nowMs: number): void {
    for (const { limit, key, cost } of charges) {
      const ruleState = this.#ruleState(limit.name)
      ruleState.adopt(limit, nowMs)
      const entry = ruleState.entry(key, limit, nowMs, true)
      if (isNewKey(entry)) continue
      limit.kernel.refund(entry.cells, 0, nowMs, toGrains(cost, limit), limit)
      entry.refusedUntilMs = 0
      ruleState.touch(entry)
    }
  }

  /** Returns how many keys were forgotten. */
  forget({ rule, key }: StateSelector): number {
    this.write()
    const names = rule === undefined ? this.#names() : [rule]
    let count = 0
    for (const name of names) {
      const ruleState = this.#ruleState(name)
      count += key === undefined ? ruleState.detachKeys() : ruleState.forget(key) ? 1 : 0
    }
    if (key === undefined) this.#ruleStates.clear()
    return count
  }

  /** Writes all changes; later calls read again. */
  write(): void {
    for (const ruleState of this.#ruleStates.values()) ruleState.write()
    this.#ruleStates.clear()
  }

  #acquire(ruleState: RuleTransaction, key: string, limit: Limit, nowMs: number): TransactionKeyState {
    ruleState.adopt(limit, nowMs)
    const entry = ruleState.entry(key, limit, nowMs, true)
    if (!isNewKey(entry) || this.#evictor.makeRoom(ruleState, limit, nowMs)) return entry
    return ruleState.entry(OVERFLOW_KEY, limit, nowMs, true)
  }

  #names(): string[] {
    const rows = this.statements.ruleNames.all() as { name: string | Uint8Array | ArrayBuffer }[]
    return rows.map(({ name }) => decodeText(typeof name === 'string' ? name : blobToBuffer(name)))
  }

  #ruleState(name: string): RuleTransaction {
    const ruleState = this.#ruleStates.get(name) ?? new RuleTransaction(this.statements, name)
    this.#ruleStates.set(name, ruleState)
    return ruleState
  }
}

function isSameCounter(one: Charge, other: Charge): boolean {
  return one.key === other.key && one.limit.name === other.limit.name
}

function take(entry: TransactionKeyState, grains: number, nowMs: number): void {
  const { kernel } = entry.limit
  if (kernel.growCells) entry.cells = kernel.growCells(entry.cells)
  kernel.charge(entry.cells, 0, nowMs, grains, entry.limit)
}

/**
 * Updates the state after a denied charge; returns true if it must be written. A flood of refusals writes nothing: a
 * key that refuses a single unit needs no mark against eviction, and others need one write per wait.
 */
function recordRefusal(entry: TransactionKeyState, verdict: Verdict, nowMs: number): boolean {
  // A bucket that starts partly full begins to fill at its first charge, even if that is denied.
  if (entry.isUnseen && !entry.hasChanged) return entry.cells.some(cell => cell !== 0)
  if (verdict.allowed || verdict.remaining === 0 || verdict.retryAfterMs === Infinity) return false
  if (entry.refusedUntilMs > nowMs) return false
  entry.refusedUntilMs = nowMs + verdict.retryAfterMs
  return true
}
