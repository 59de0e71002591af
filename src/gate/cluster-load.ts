import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { LoadExchange, NodeLoad } from '../chain/rules/load-scaling.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { withTimeout } from '../core/with-timeout.ts'
import type { EphemeralEntries, SharedEntries, SharedEntry } from '../stores/shared-entries.ts'

/**
 * Kind of the entries that hold a node's load. Ephemeral, because they change often and must not make nodes
 * read bans again.
 */
const KIND = 'load'
/** Intervals after which a node that reported nothing no longer counts. */
const LIFETIME_INTERVALS = 3
const TIMEOUT_MS = 2_000
/** Maximum length of another node's name. */
const NODE_CHARS = 60

export interface LoadExchangeOptions {
  readonly sharedEntries: SharedEntries
  readonly clock: Clock
  readonly logger: Logger
  /** Name of this node. Default: the host's name and the process id. */
  readonly node: string | undefined
  /** Interval between reports of this node's load. */
  readonly everyMs: number
}

/**
 * Nodes that share a store. Each reports its load at every interval and is dropped after three intervals
 * without a report.
 */
export class StoreClusterLoad implements LoadExchange {
  readonly #options: LoadExchangeOptions
  readonly #sharedEntries: EphemeralEntries
  readonly #node: string
  /** Random, because two nodes may have the same name. */
  readonly #id = randomBytes(8).toString('hex')
  #hasReported = false
  #isFailing = false
  #hasLeft = false

  constructor(options: LoadExchangeOptions) {
    this.#options = options
    this.#sharedEntries = options.sharedEntries.ephemeral(KIND)
    this.#node = options.node ?? `${hostname()}:${process.pid}`
  }

  async exchange(signals: ReadonlyMap<string, number>): Promise<readonly NodeLoad[] | undefined> {
    const { clock, everyMs, logger } = this.#options
    try {
      const timeoutMs = Math.min(TIMEOUT_MS, everyMs)
      const sharedEntries = await withTimeout(clock, timeoutMs, () => this.#exchangeEntries(signals))
      this.#isFailing = false
      return this.#liveLoads(sharedEntries)
    } catch (err) {
      if (!this.#isFailing && !this.#hasLeft)
        logger.warn({ err }, 'the load of other nodes is unknown: limits follow the load of this node only')
      this.#isFailing = true
      return undefined
    }
  }

  /** Removes this node's entry if the store is reachable. Otherwise the entry expires. */
  close(): void {
    this.#hasLeft = true
    const remove = async (): Promise<void> => this.#sharedEntries.remove(KIND, this.#id)
    if (this.#hasReported) remove().catch(() => {})
  }

  async #exchangeEntries(signals: ReadonlyMap<string, number>): Promise<readonly SharedEntry[]> {
    const { clock, everyMs } = this.#options
    if (!this.#hasLeft) {
      this.#hasReported = true
      const json = JSON.stringify({ node: this.#node, signals: Object.fromEntries(signals) })
      const expiresAtMs = clock.now() + LIFETIME_INTERVALS * everyMs
      await this.#sharedEntries.put({ kind: KIND, id: this.#id, json, expiresAtMs })
    }
    return this.#sharedEntries.list()
  }

  #liveLoads(sharedEntries: readonly SharedEntry[]): readonly NodeLoad[] {
    const nowMs = this.#options.clock.now()
    const loads: NodeLoad[] = []
    for (const { kind, id, json, expiresAtMs = 0 } of sharedEntries) {
      if (kind !== KIND || id === this.#id || expiresAtMs <= nowMs) continue
      const load = readLoad(json)
      if (load !== undefined) loads.push(load)
      if (loads.length >= MAX_SIZES.clusterNodes) break
    }
    return loads
  }
}

/** Returns undefined if the entry has another format, as written by another version. */
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
