import { randomBytes } from 'node:crypto'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { ThrottledLog } from '../core/throttled-log.ts'
import { withTimeout } from '../core/with-timeout.ts'
import type { EphemeralEntries, SharedEntries } from '../stores/shared-entries.ts'
import type { Store } from '../stores/store.ts'
import type { RuntimeEntryKind } from './runtime-entry.ts'
import { buildEntryName, type RuntimeEntrySync } from './runtime-entry-sync.ts'

/** Kind of the entries by which nodes report which changes they have applied. */
const KIND = 'node'
/** Interval between reports of a node, and the age at which its last one no longer counts. */
const REPORT_INTERVAL_MS = 5_000
const LIFETIME_MS = 3 * REPORT_INTERVAL_MS
/** Pause after a report, and before another attempt. */
const PAUSE_MS = 100
const RETRY_MS = 1_000
const TIMEOUT_MS = 2_000
/** Longest wait for the reports of other nodes, which know a change within a second. */
const CONFIRM_MS = 1_000
const ASK_INTERVAL_MS = 50
/** Characters of a node's name, and refused entries that a node reports. */
const NODE_CHARS = 128
const MAX_REFUSED = 100
const UNREPORTED = 'the other nodes do not know which bans and overrides this node has applied'

/** Nodes that have applied a change of a runtime entry, and those that have not confirmed it yet. */
export interface EntryConfirmation {
  readonly confirmed: readonly string[]
  readonly pending: readonly string[]
}

/** What a node reports of itself. */
interface NodeReport {
  readonly node: string
  /** Version of the shared entries that it has applied. */
  readonly version: string
  /** Names of entries that it could not apply, such as an override of a rule that it does not have. */
  readonly refused: readonly string[]
}

export interface NodeMembershipOptions {
  /** Name of this node. */
  readonly node: string
  /** Identifies the node, so that its successor replaces it at once. Default: random, because two nodes may have the same name. */
  readonly id?: string | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly sharedEntries: SharedEntries
  readonly sync: RuntimeEntrySync
}

/** Membership of a node among those of a store that confirm changes of runtime entries to each other. */
export class NodeMembership {
  readonly #options: NodeMembershipOptions
  readonly #entries: EphemeralEntries
  readonly #id: string
  readonly #failures: ThrottledLog
  #reporting: Promise<void> | undefined
  #hasChanged = false
  #isClosed = false
  #cancelReport: (() => void) | undefined
  /** Names of the other nodes when they were last read. */
  #otherNodes: readonly string[] = []

  constructor(options: NodeMembershipOptions) {
    this.#options = options
    const { sharedEntries, sync, clock, logger } = options
    this.#id = options.id ?? randomBytes(8).toString('hex')
    this.#entries = sharedEntries.ephemeral(KIND)
    this.#failures = new ThrottledLog(clock, logger, 'warn', LIFETIME_MS)
    sync.onApplied = () => this.#report()
    this.#report()
  }

  /** Returns the names of all nodes, this one first. Rejects if the store does not answer. */
  async nodes(): Promise<readonly string[]> {
    const reports = await this.#withTimeout(() => this.#readOthers())
    return [this.#options.node, ...reports.map(({ node }) => node)]
  }

  /** Waits until all nodes have applied the last change of an entry, at most a second. Never rejects. */
  async confirm(kind: RuntimeEntryKind, id: string): Promise<EntryConfirmation> {
    const { node, clock, sharedEntries, sync } = this.#options
    const name = buildEntryName(kind, id)
    const untilMs = clock.now() + CONFIRM_MS
    try {
      if (!sync.isWritten(kind, id)) return { confirmed: [node], pending: this.#otherNodes }
      const version = await this.#withTimeout(() => sharedEntries.version())
      for (;;) {
        const reports = await this.#withTimeout(() => this.#readOthers())
        const hasApplied = (report: NodeReport): boolean =>
          isSameOrLater(report.version, version) && !report.refused.includes(name)
        const pending = reports.filter(report => !hasApplied(report)).map(report => report.node)
        const confirmed = reports.filter(hasApplied).map(report => report.node)
        if (pending.length === 0 || clock.now() >= untilMs)
          return { confirmed: [node, ...confirmed], pending }
        await new Promise<void>(resolve => void clock.after(ASK_INTERVAL_MS, resolve))
      }
    } catch {
      return { confirmed: [node], pending: this.#otherNodes }
    }
  }

  /** Stops reporting. Removes the report if the store is reachable; otherwise it expires. */
  close(): void {
    this.#isClosed = true
    this.#options.sync.onApplied = () => {}
    this.#cancelReport?.()
    const remove = async (): Promise<void> => this.#entries.remove(KIND, this.#id)
    remove().catch(() => {})
  }

  /** Reports what this node has applied, now or after the report that is under way, and then at intervals. */
  #report(): void {
    this.#hasChanged = true
    if (this.#reporting !== undefined || this.#isClosed) return
    this.#cancelReport?.()
    this.#hasChanged = false
    this.#reporting = this.#send().then(isSent => {
      this.#reporting = undefined
      if (this.#isClosed) return
      const waitMs = this.#hasChanged ? PAUSE_MS : isSent ? REPORT_INTERVAL_MS : RETRY_MS
      this.#cancelReport = this.#options.clock.after(waitMs, () => this.#report())
    })
  }

  /** Returns false if the store did not take the report. */
  async #send(): Promise<boolean> {
    const { node, clock, sync } = this.#options
    const refused = [...sync.refusedEntries].slice(0, MAX_REFUSED)
    const report: NodeReport = { node, version: sync.appliedVersion, refused }
    const entry = {
      kind: KIND,
      id: this.#id,
      json: JSON.stringify(report),
      expiresAtMs: clock.now() + LIFETIME_MS,
    }
    try {
      await this.#withTimeout(() => this.#entries.put(entry))
      return true
    } catch (err) {
      if (!this.#isClosed) this.#failures.log({ err }, UNREPORTED)
      return false
    }
  }

  async #readOthers(): Promise<readonly NodeReport[]> {
    const nowMs = this.#options.clock.now()
    const entries = await this.#entries.list()
    const reports = entries
      .filter(({ kind, id, expiresAtMs = 0 }) => kind === KIND && id !== this.#id && expiresAtMs > nowMs)
      .slice(0, MAX_SIZES.clusterNodes)
      .flatMap(({ json }) => readReport(json) ?? [])
    this.#otherNodes = reports.map(({ node }) => node)
    return reports
  }

  #withTimeout<T>(ask: () => T | Promise<T>): Promise<T> {
    return withTimeout(this.#options.clock, TIMEOUT_MS, ask)
  }
}

export async function removeNode({ sharedEntries }: Store, id: string): Promise<void> {
  await sharedEntries?.ephemeral(KIND).remove(KIND, id)
}

/** Versions end in a number that grows. Those of a store that lost its entries cannot be compared. */
function isSameOrLater(version: string, other: string): boolean {
  const [, text, number] = /^(.*?)(\d+)$/.exec(version) ?? []
  const [, otherText, otherNumber] = /^(.*?)(\d+)$/.exec(other) ?? []
  return (
    version === other || (text !== undefined && text === otherText && Number(number) >= Number(otherNumber))
  )
}

/** Returns undefined for a report of another version. */
function readReport(json: string): NodeReport | undefined {
  try {
    const { node, version, refused } = JSON.parse(json) as Partial<NodeReport>
    if (typeof node !== 'string' || typeof version !== 'string' || !Array.isArray(refused)) return undefined
    return { node: node.slice(0, NODE_CHARS), version, refused }
  } catch {
    return undefined
  }
}
