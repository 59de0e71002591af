import type { Limit, Verdict } from '../../algorithms/limit-types.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { OVERFLOW_KEY, type RuleTransaction, type TransactionKeyState } from './rule-transaction.ts'
import type { StoredKey } from './statements.ts'

/** Keeps the number of keys per rule bounded and counts evictions. */
export class SqliteKeyEvictor {
  /** Keys whose state was removed before they were full. */
  evictions = 0
  /** Decisions that used the shared overflow counter. */
  overflows = 0
  readonly #maxKeys: number
  readonly #onEviction: (rule: string, keys: number) => void
  /** Position of the last search in each full rule. */
  readonly #positions = new Map<string, StoredKey>()

  /** `onEviction` is called for each eviction and overflow. */
  constructor(maxKeys: number, onEviction: (rule: string, keys: number) => void) {
    this.#maxKeys = maxKeys
    this.#onEviction = onEviction
  }

  /**
   * Makes room for a new key; returns false if all checked keys refuse, so that it has to share the overflow counter.
   */
  makeRoom(ruleState: RuleTransaction, limit: Limit, nowMs: number): boolean {
    if (ruleState.keys < this.#maxKeysOf(limit)) return true
    const victim = this.#findVictim(ruleState, limit, nowMs)
    if (victim === undefined) this.overflows++
    else {
      ruleState.remove(victim.key)
      if (!victim.isFull) this.evictions++
    }
    if (victim?.isFull !== true) this.#onEviction(ruleState.name, ruleState.keys)
    return victim !== undefined
  }

  /** Returns an expired key, else the one nearest to full that does not refuse, among the next keys in the file. */
  #findVictim(
    ruleState: RuleTransaction,
    limit: Limit,
    nowMs: number,
  ): { key: StoredKey; isFull: boolean } | undefined {
    if (this.#positions.size >= MAX_SIZES.rules) this.#positions.clear()
    const start = this.#positions.get(ruleState.name) ?? OVERFLOW_KEY
    let rows = ruleState.after(start, MAX_SIZES.evictionProbe)
    if (rows.length < MAX_SIZES.evictionProbe)
      rows = [...rows, ...ruleState.after(OVERFLOW_KEY, MAX_SIZES.evictionProbe)]
    let best: StoredKey | undefined
    let bestFullAtMs = Infinity
    for (const row of rows) {
      if (ruleState.isInUse(row.key)) continue
      const entry = ruleState.open('', row, limit, nowMs)
      const fullAtMs = limit.kernel.fullAtMs(entry.cells, 0, limit)
      if (fullAtMs <= nowMs) {
        this.#positions.set(ruleState.name, row.key)
        return { key: row.key, isFull: true }
      }
      if (fullAtMs >= bestFullAtMs || refuses(entry, nowMs)) continue
      best = row.key
      bestFullAtMs = fullAtMs
    }
    const last = rows.at(-1)
    if (last !== undefined) this.#positions.set(ruleState.name, last.key)
    return best === undefined ? undefined : { key: best, isFull: false }
  }

  /** Returns the maximum number of keys; lower if a key may be large, as a sliding log is as large as its limit. */
  #maxKeysOf(limit: Limit): number {
    const entries = limit.kernel.entries?.(limit)
    if (entries === undefined) return this.#maxKeys
    return Math.min(this.#maxKeys, Math.max(1, Math.floor(MAX_SIZES.logEntriesPerRule / entries)))
  }
}

const scratchVerdict: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }

/**
 * Returns true if a key refuses now, either its last refused cost or a single unit. Such a key must not be forgotten.
 */
function refuses({ cells, limit, refusedUntilMs }: TransactionKeyState, nowMs: number): boolean {
  return refusedUntilMs > nowMs || !limit.kernel.probe(cells, 0, nowMs, limit.scale, limit, scratchVerdict)
}
