import { statSync } from 'node:fs'
import { ALGORITHM_NAMES, type Limit } from '../../algorithms/limit-types.ts'
import { type Clock, systemClock, toMonotonicClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { type Logger, SILENT } from '../../core/logger.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import type { ShareableBackend } from '../backend-connection.ts'
import type { SharedEntries } from '../shared-entries.ts'
import type { Charge, StateSelector, Store, StoreEvent, StoreHealth, Verdict } from '../store.ts'
import { type WatchedDatabaseFile, watchDatabaseFile } from './database-file-identity.ts'
import { type SqliteDatabase, selectSingleValue } from './driver-types.ts'
import { SqliteKeyEvictor } from './evictor.ts'
import { prepareDatabase } from './schema.ts'
import { wrapSqliteError } from './sqlite-errors.ts'
import { sqliteSharedEntries } from './sqlite-shared-entries.ts'
import { SWEEP_START, type Swept, sweep } from './sweep.ts'
import { Transactions } from './transactions.ts'

const LOCK_WAIT_MS = 2_000
/** Interval of sweep slices; shorter if a slice removed many rows. */
const SWEEP_EVERY_MS = 1_000
const BUSY_SWEEP_MS = 20
/** Longest interval between checkpoints of the log: the most that a power loss can take. */
const WRITE_BACK_EVERY_MS = 10_000
/** Minimum interval between warnings; every eviction is counted. */
const WARNING_EVERY_MS = 10_000

export interface SqliteStoreOptions {
  /** Open database for the exclusive use of topicgate. */
  readonly database: SqliteDatabase
  /** True if `close` also closes the database. Default: it stays open. */
  readonly closesDatabase?: boolean | undefined
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
  /** Maximum number of keys per rule. Default: {@link MAX_SIZES.keysPerRule}. */
  readonly maxKeysPerRule?: number | undefined
  /** Opens the same path again after the file was removed or replaced. Default: the store stays broken. */
  readonly reopen?: (() => SqliteDatabase) | undefined
  /** Called after the database was closed. */
  readonly onClosed?: (() => Promise<void>) | undefined
  /** Longest wait for a lock of another process before StoreError, in milliseconds. Default: 2000. */
  readonly lockWaitMs?: number | undefined
}

const OPTIONS: KnownOptions<SqliteStoreOptions> = {
  database: true,
  closesDatabase: true,
  clock: true,
  logger: true,
  maxKeysPerRule: true,
  reopen: true,
  onClosed: true,
  lockWaitMs: true,
}

/**
 * State in one file on one machine. It lasts across restarts, and several processes on one file count exactly
 * together. Calls of one event loop turn share one transaction. Throws StoreError if the file cannot be used.
 */
export class SqliteStore implements Store {
  readonly name = 'sqlite'
  readonly algorithms: ReadonlySet<string> = new Set(ALGORITHM_NAMES)
  readonly sharedEntries: SharedEntries
  readonly backend: ShareableBackend
  readonly #clock: Clock
  readonly #logger: Logger
  #database: SqliteDatabase
  #file: WatchedDatabaseFile | undefined
  /** Error while the file cannot be used, until it can be opened again. */
  #fileError: StoreError | undefined
  readonly #reopen: (() => SqliteDatabase) | undefined
  readonly #onClosed: (() => Promise<void>) | undefined
  readonly #closesDatabase: boolean
  readonly #evictor: SqliteKeyEvictor
  readonly #transactions: Transactions
  readonly #listeners = new Set<(event: StoreEvent) => void>()
  #warnedAtMs = -Infinity
  #writtenBackAtMs: number
  #sweepPosition = SWEEP_START
  #cancelSweep: () => void
  #closing: Promise<void> | undefined

  constructor(options: SqliteStoreOptions) {
    checkOptionNames(options, OPTIONS)
    this.#clock = options.clock ?? systemClock
    this.#logger = options.logger ?? SILENT
    this.#database = options.database
    this.#closesDatabase = options.closesDatabase ?? false
    this.#reopen = options.reopen
    this.#onClosed = options.onClosed
    this.#evictor = new SqliteKeyEvictor(options.maxKeysPerRule ?? MAX_SIZES.keysPerRule, (rule, keys) =>
      this.#warn(rule, keys),
    )
    try {
      prepareDatabase(this.#database)
      this.#file = watchDatabaseFile(this.#database)
      this.#transactions = new Transactions(this.#database, {
        clock: this.#clock,
        lockWaitMs: options.lockWaitMs ?? LOCK_WAIT_MS,
        evictor: this.#evictor,
      })
    } catch (error) {
      throw wrapSqliteError(error, 'open its file')
    }
    this.sharedEntries = sqliteSharedEntries((work, kind) => this.#ask(work, kind), this.#clock)
    this.backend = {
      kind: 'sqlite',
      transact: async work => this.#ask(() => work(this.#database), 'writes'),
    }
    this.#writtenBackAtMs = this.#clock.now()
    this.#cancelSweep = this.#sweepAfter(SWEEP_EVERY_MS)
  }

  decide(
    charges: readonly Charge[],
    options: { readonly commit: boolean; readonly nowMs?: number },
  ): Promise<readonly Verdict[]> {
    const nowMs = options.nowMs ?? this.#clock.now()
    const { commit } = options
    return this.#ask(
      chargeTransaction => chargeTransaction.decide(charges, commit, nowMs),
      commit ? 'writes' : 'reads',
    )
  }

  adopt(limits: readonly Limit[], nowMs: number): void {
    this.#ask(chargeTransaction => chargeTransaction.adopt(limits, nowMs), 'writes').catch((err: unknown) => {
      this.#logger.debug({ err }, 'changed limits are migrated on their next decision')
    })
  }

  refund(charges: readonly Charge[]): Promise<void> {
    const nowMs = this.#clock.now()
    return this.#ask(chargeTransaction => chargeTransaction.refund(charges, nowMs), 'writes')
  }

  /** Returns how many keys were forgotten. */
  forget(selector: StateSelector): Promise<number> {
    return this.#ask(chargeTransaction => chargeTransaction.forget(selector), 'writes')
  }

  /** Subscribes to warnings about evictions and shared counters; the returned function unsubscribes. */
  watch(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Returns the keys of all rules, the evictions and overflows of this process, and the sizes of the file and its
   * log.
   */
  async health(): Promise<StoreHealth> {
    const { evictions, overflows } = this.#evictor
    try {
      const keys = await this.#ask(({ statements }) => {
        return (statements.count.get() as { keys: number }).keys
      }, 'reads')
      return { ok: true, keys, evictions, overflows, detail: this.#describeFile() }
    } catch (error) {
      return { ok: false, evictions, overflows, detail: (error as Error).message }
    }
  }

  /** Answers pending decisions, then writes the log into the file. Later calls are refused. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#cancelSweep()
    await this.#transactions.drained()
    this.#cancelSweep()
    if (this.#fileError === undefined) this.#writeBack('TRUNCATE')
    this.#transactions.release()
    if (this.#closesDatabase && this.#fileError === undefined) this.#database.close()
    await this.#onClosed?.()
  }

  #ask<T>(...[work, kind]: Parameters<typeof Transactions.prototype.ask<T>>): Promise<T> {
    if (this.#fileError !== undefined && this.#closing === undefined) return Promise.reject(this.#fileError)
    if (this.#closing === undefined) return this.#transactions.ask(work, kind)
    return Promise.reject(new StoreError('the SQLite store is closed (open another one)'))
  }

  #sweepAfter(ms: number): () => void {
    return this.#clock.after(ms, () => void this.#sweep())
  }

  /** Checks the file every second, because writes to a removed file reach this process alone. */
  #checkFile(): void {
    const what = this.#file?.problem()
    if (what === undefined || this.#file === undefined) return
    const { path } = this.#file
    const isNew = this.#fileError === undefined
    try {
      if (this.#reopen === undefined) throw new StoreError('open another store')
      if (isNew) this.#database.close()
      this.#fileError ??= new StoreError(`the file of the SQLite store ${what}: ${path}`)
      const database = this.#reopen()
      prepareDatabase(database)
      this.#transactions.use(database)
      this.#database = database
      this.#file = watchDatabaseFile(database)
      this.#fileError = undefined
      this.#sweepPosition = SWEEP_START
      this.#logger.warn({ file: path }, `the file of the SQLite store ${what}: it was opened again`)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.#fileError = new StoreError(`the file of the SQLite store ${what}: ${path} (${why})`, {
        cause: error,
      })
      if (isNew) this.#logger.warn({ file: path, err: error }, `the file of the SQLite store ${what}`)
    }
  }

  async #sweep(): Promise<void> {
    let swept: Swept | undefined
    this.#checkFile()
    try {
      const nowMs = this.#clock.now()
      // Read for the gate of this clock: it decides no message at a time before a sweep.
      toMonotonicClock(this.#clock).now()
      swept = await this.#ask(chargeTransaction => {
        // After rows were removed, cached reads must be repeated.
        chargeTransaction.write()
        return sweep(chargeTransaction.statements, this.#sweepPosition, nowMs, MAX_SIZES.sqliteSweep)
      }, 'writes')
      this.#sweepPosition = swept.next
    } catch (error) {
      this.#logger.debug({ err: error }, 'the SQLite store could not sweep')
    }
    if (this.#closing !== undefined) return
    if (Math.abs(this.#clock.now() - this.#writtenBackAtMs) >= WRITE_BACK_EVERY_MS) this.#writeBack('PASSIVE')
    const isBusy = swept !== undefined && 4 * swept.removed > MAX_SIZES.sqliteSweep
    this.#cancelSweep = this.#sweepAfter(isBusy ? BUSY_SWEEP_MS : SWEEP_EVERY_MS)
  }

  /** Syncs the log and writes it into the file, as far as other connections permit. */
  #writeBack(mode: 'PASSIVE' | 'TRUNCATE'): void {
    this.#writtenBackAtMs = this.#clock.now()
    try {
      this.#database.prepare(`PRAGMA wal_checkpoint(${mode})`).get()
    } catch (error) {
      // Nothing is lost: it is retried, and the next process to open the file does it too.
      this.#logger.debug({ err: error }, 'the log of the SQLite store was not written back')
    }
  }

  #warn(rule: string, keys: number): void {
    const nowMs = this.#clock.now()
    if (nowMs - this.#warnedAtMs < WARNING_EVERY_MS) return
    this.#warnedAtMs = nowMs
    const { evictions, overflows } = this.#evictor
    this.#logger.warn({ rule, keys, evictions, overflows }, 'a rule has more keys than its maximum')
    for (const listener of this.#listeners) listener({ kind: 'table_full', rule, keys, evictions, overflows })
  }

  #describeFile(): string {
    const pages = Number(selectSingleValue(this.#database, 'PRAGMA page_count'))
    const pageBytes = Number(selectSingleValue(this.#database, 'PRAGMA page_size'))
    const { file } = this.#database.prepare('PRAGMA database_list').get() as { readonly file: string }
    const log = file === '' ? undefined : statSync(`${file}-wal`, { throwIfNoEntry: false })
    const version = selectSingleValue(this.#database, 'SELECT sqlite_version()')
    return `SQLite ${version}, ${pages * pageBytes} bytes, log of ${log?.size ?? 0} bytes`
  }
}
