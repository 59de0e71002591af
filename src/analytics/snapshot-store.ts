import { type Clock, systemClock } from '../core/clock.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { checkOptionNames } from '../core/option-names.ts'

/** Record of a node. */
export interface StoredSnapshot {
  readonly node: string
  readonly json: string
}

/**
 * Store of node records, for one view of all nodes. `put` replaces the record of the same name and expires it after
 * `ttlMs`; `list` returns unexpired records, at most `MAX_SIZES.snapshotRecords`. Both reject with the error of the
 * underlying store.
 */
export interface SnapshotStore {
  put(node: string, json: string, ttlMs: number): Promise<void>
  list(): Promise<readonly StoredSnapshot[]>
}

/** Snapshot store in this process: for tests, and for several gates of a single node. */
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
