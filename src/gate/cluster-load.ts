import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { ClusterLoad, NodeLoad } from '../chain/rules/limit-scaling.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { withTimeout } from '../core/with-timeout.ts'
import type { EphemeralEntries, SharedEntries, SharedEntry } from '../stores/shared-entries.ts'

/** Notes of a node's load: apart, as they change all the time and nobody is to read bans anew because of them. */
const KIND = 'load'
/** Intervals after which a node that has told nothing counts no more. */
const LASTS = 3
const PATIENCE_MS = 2_000
/** Of the name of another node. */
const NODE_CHARS = 60

export interface ClusterLoadOptions {
  readonly sharedEntries: SharedEntries
  readonly clock: Clock
  readonly logger: Logger
  /** What this node is called. Default: the host's name and the process. */
  readonly node: string | undefined
  /** How often it tells its load. */
  readonly everyMs: number
}

/** The nodes of a store, by its notes: each tells its load at each interval, and is forgotten after three without. */
export class StoreClusterLoad implements ClusterLoad {
  readonly #options: ClusterLoadOptions
  readonly #sharedEntries: EphemeralEntries
  readonly #node: string
  /** Two nodes may have one name. */
  readonly #id = randomBytes(8).toString('hex')
  #told = false
  #failing = false
  #left = false

  constructor(options: ClusterLoadOptions) {
    this.#options = options
    this.#sharedEntries = options.sharedEntries.ephemeral(KIND)
    this.#node = options.node ?? `${hostname()}:${process.pid}`
  }

  async exchange(signals: ReadonlyMap<string, number>): Promise<readonly NodeLoad[] | undefined> {
    const { clock, everyMs, logger } = this.#options
    try {
      const patienceMs = Math.min(PATIENCE_MS, everyMs)
      const sharedEntries = await withTimeout(clock, patienceMs, () => this.#tellAndHear(signals))
      this.#failing = false
      return this.#living(sharedEntries)
    } catch (err) {
      if (!this.#failing && !this.#left)
        logger.warn({ err }, 'the load of other nodes is not known now: limits go by that of this node')
      this.#failing = true
      return undefined
    }
  }

  /** As far as the store is in reach; else its note ends by itself. */
  leave(): void {
    this.#left = true
    const remove = async (): Promise<void> => this.#sharedEntries.remove(KIND, this.#id)
    if (this.#told) remove().catch(() => {})
  }

  async #tellAndHear(signals: ReadonlyMap<string, number>): Promise<readonly SharedEntry[]> {
    const { clock, everyMs } = this.#options
    if (!this.#left) {
      this.#told = true
      const json = JSON.stringify({ node: this.#node, signals: Object.fromEntries(signals) })
      const expiresAtMs = clock.now() + LASTS * everyMs
      await this.#sharedEntries.put({ kind: KIND, id: this.#id, json, expiresAtMs })
    }
    return this.#sharedEntries.list()
  }

  #living(sharedEntries: readonly SharedEntry[]): readonly NodeLoad[] {
    const nowMs = this.#options.clock.now()
    const loads: NodeLoad[] = []
    for (const { kind, id, json, expiresAtMs = 0 } of sharedEntries) {
      if (kind !== KIND || id === this.#id || expiresAtMs <= nowMs) continue
      const load = readLoad(json)
      if (load !== undefined) loads.push(load)
      if (loads.length >= MAX_SIZES.fleetNodes) break
    }
    return loads
  }
}

/** Undefined for what is none: another version may have written it. */
function readLoad(json: string): NodeLoad | undefined {
  try {
    const { node, signals } = JSON.parse(json) as { node?: unknown; signals?: unknown }
    if (typeof node !== 'string' || typeof signals !== 'object' || signals === null) return undefined
    const values = Object.entries(signals).filter(([, value]) => typeof value === 'number' && value >= 0)
    return { node: node.slice(0, NODE_CHARS), signals: new Map(values as [string, number][]) }
  } catch {
    return undefined
  }
}
