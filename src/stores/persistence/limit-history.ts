import type { Limit } from '../../algorithms/limit.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'

/** Numbers a rule counted by from a moment on, as text. */
export interface Period {
  readonly text: string
  readonly sinceMs: number
  /** Absent where only the text is known. */
  readonly limit?: Limit | undefined
}

/** What a rule counted by over time, the newest last, which is in force. */
export type History = readonly Period[]

/** A history with other numbers in force from a moment on; the same object if they are in force. */
export function withChange(history: History, period: Period): History {
  if (history.at(-1)?.text === period.text) return history
  return [...history, period].slice(-MAX_SIZES.numbersRemembered)
}

/** The changes that cells have yet to be carried through, which were written under `text` and charged last at `lastMs`. */
export function changesAfter(history: History, text: string, lastMs: number): History {
  const known = history.findLastIndex(each => each.text === text && each.sinceMs <= lastMs)
  if (known >= 0) return history.slice(known + 1)
  const later = history.findIndex(each => each.text === text)
  if (later >= 0) return history.slice(later + 1)
  // Written by another process: by its numbers up to the first change that comes later here.
  const inForce = history.findLastIndex(each => each.sinceMs <= lastMs)
  return history.slice(Math.max(0, inForce))
}

/** Histories of rules by name, in this process: from when on each counted by which numbers. */
export class Histories {
  readonly #byName = new Map<string, { limit: Limit; history: History }>()
  readonly #describe: (limit: Limit) => string

  /** `describe` gives the numbers of a limit as text. */
  constructor(describe: (limit: Limit) => string) {
    this.#describe = describe
  }

  /** Takes a limit as in force from a moment on, unless it is; returns the history of its rule. */
  adopt(limit: Limit, nowMs: number): History {
    const known = this.#byName.get(limit.name)
    if (known?.limit === limit) return known.history
    const history = withChange(known?.history ?? [], { text: this.#describe(limit), sinceMs: nowMs, limit })
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

  /** The history of a limit's rule up to the last time the limit's numbers were in force. */
  of(limit: Limit, nowMs: number): History {
    const known = this.#byName.get(limit.name)
    if (known?.limit === limit) return known.history
    const text = this.#describe(limit)
    const history = known?.history ?? []
    const last = history.findLastIndex(each => each.text === text)
    return last < 0 ? withChange(history, { text, sinceMs: nowMs, limit }) : history.slice(0, last + 1)
  }
}
