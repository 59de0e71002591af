import type { Limit } from '../../algorithms/limit-types.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'

/** Numbers of a rule, as text, with the time from which they were active. */
export interface LimitHistoryEntry {
  readonly text: string
  readonly sinceMs: number
  /** Absent if only the text is known. */
  readonly limit?: Limit | undefined
}

/** Past numbers of a rule, oldest first; the last are active. */
export type LimitHistory = readonly LimitHistoryEntry[]

/** Appends numbers that become active; returns the same history if they already are. */
export function appendToLimitHistory(history: LimitHistory, period: LimitHistoryEntry): LimitHistory {
  if (history.at(-1)?.text === period.text) return history
  return [...history, period].slice(-MAX_SIZES.limitChangesPerRule)
}

/** Returns the changes still to apply to cells written under `text` and last charged at `lastMs`. */
export function findLimitChanges(history: LimitHistory, text: string, lastMs: number): LimitHistory {
  const known = history.findLastIndex(each => each.text === text && each.sinceMs <= lastMs)
  if (known >= 0) return history.slice(known + 1)
  const later = history.findIndex(each => each.text === text)
  if (later >= 0) return history.slice(later + 1)
  // Written by another process: its numbers were active up to the first change that is later here.
  const inForce = history.findLastIndex(each => each.sinceMs <= lastMs)
  return history.slice(Math.max(0, inForce))
}

/** Histories of rules by name, in this process. */
export class LimitHistories {
  readonly #byName = new Map<string, { limit: Limit; history: LimitHistory }>()
  readonly #describe: (limit: Limit) => string

  /** `describe` returns the numbers of a limit as text. */
  constructor(describe: (limit: Limit) => string) {
    this.#describe = describe
  }

  /** Makes a limit active from a time on, unless it already is; returns the history of its rule. */
  adopt(limit: Limit, nowMs: number): LimitHistory {
    const known = this.#byName.get(limit.name)
    if (known?.limit === limit) return known.history
    const history = appendToLimitHistory(known?.history ?? [], {
      text: this.#describe(limit),
      sinceMs: nowMs,
      limit,
    })
    if (known === undefined) {
      const [oldest] = this.#byName.keys()
      if (this.#byName.size >= MAX_SIZES.ruleHistories && oldest !== undefined) this.#byName.delete(oldest)
      this.#byName.set(limit.name, { limit, history })
    } else {
      known.limit = limit
      known.history = history
    }
    return history
  }

  /** Returns the history of a limit's rule up to the last time the limit's numbers were active. */
  of(limit: Limit, nowMs: number): LimitHistory {
    const known = this.#byName.get(limit.name)
    if (known?.limit === limit) return known.history
    const text = this.#describe(limit)
    const history = known?.history ?? []
    const last = history.findLastIndex(each => each.text === text)
    return last < 0
      ? appendToLimitHistory(history, { text, sinceMs: nowMs, limit })
      : history.slice(0, last + 1)
  }
}
