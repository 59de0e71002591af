import { type Clock, systemClock } from '../core/clock.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { checkOptionNames } from '../core/option-names.ts'

/** A record a node has left. */
export interface StoredSnapshot {
  readonly node: string
  readonly json: string
}

/**
 * Where nodes leave what they have counted, for one view of them all. `put` replaces what is there under the same name and
 * lets it go after `ttlMs`; `list` gives what has not gone, at most as many records as `BOUNDS.snapshotRecords`.
 * Both reject with the error of whatever is behind them.
 */
export interface SnapshotStore {
  put(node: string, json: string, ttlMs: number): Promise<void>
  list(): Promise<readonly StoredSnapshot[]>
}

/** In this process: for tests, and for a single node whose gates count apart. */
export class MemorySnapshots implements SnapshotStore {
  readonly #clock: Clock
  readonly #records = new Map<string, { readonly json: string; readonly endsMs: number }>()

  constructor(options: { readonly clock?: Clock | undefined } = {}) {
    checkOptionNames(options, { clock: true })
    this.#clock = options.clock ?? systemClock
  }

  async put(node: string, json: string, ttlMs: number): Promise<void> {
    this.#sweep()
    this.#records.delete(node)
    this.#records.set(node, { json, endsMs: this.#clock.now() + ttlMs })
    if (this.#records.size > MAX_SIZES.snapshotRecords) {
      const [oldest] = this.#records.keys()
      this.#records.delete(oldest!)
    }
  }

  async list(): Promise<readonly StoredSnapshot[]> {
    this.#sweep()
    return Array.from(this.#records, ([node, { json }]) => ({ node, json }))
  }

  #sweep(): void {
    const nowMs = this.#clock.now()
    for (const [node, { endsMs }] of this.#records) if (endsMs <= nowMs) this.#records.delete(node)
  }
}
