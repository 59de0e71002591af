import { type Clock, startAwaitedTimer } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { ChargeTransaction } from './charge-transaction.ts'
import type { SqliteDatabase } from './driver-types.ts'
import type { SqliteKeyEvictor } from './evictor.ts'
import { rollBackTransaction } from './schema.ts'
import { getSqliteErrorCode, isLocked, wrapSqliteError } from './sqlite-errors.ts'
import { prepareStatements, type Statements } from './statements.ts'

/** Interval of retries while another process holds the lock. */
const RETRY_MS = 5

/** Work to run in a transaction. */
interface Work {
  readonly run: (chargeTransaction: ChargeTransaction) => unknown
  readonly writes: boolean
  readonly resolve: (value: unknown) => void
  readonly reject: (error: StoreError) => void
}

export interface TransactionsOptions {
  readonly clock: Clock
  /** Longest wait for a lock before waiting work is rejected with StoreError, in milliseconds. */
  readonly lockWaitMs: number
  readonly evictor: SqliteKeyEvictor
}

/**
 * Runs transactions one after another, each with the work of one event loop turn; results are returned after its
 * commit. Waits for a lock of another process without blocking the event loop.
 */
export class Transactions {
  #database: SqliteDatabase
  #statements: Statements
  readonly #options: TransactionsOptions
  #waiting: Work[] = []
  #isScheduled = false
  /** Time since which another connection has held the lock. */
  #lockedSinceMs: number | undefined
  #lock: unknown
  #idle: (() => void)[] = []

  constructor(database: SqliteDatabase, options: TransactionsOptions) {
    this.#database = database
    this.#statements = prepareStatements(database)
    this.#options = options
  }

  /** Switches to another connection. No transaction is open between two turns of the event loop. */
  use(database: SqliteDatabase): void {
    this.#statements = prepareStatements(database)
    this.#database = database
  }

  /** Releases the statements, because a driver may keep the file open while one of them is referenced. */
  release(): void {
    this.#statements = {} as Statements
  }

  /** Runs `work` in the next transaction; it may run twice, and the writes of the first run are then rolled back. */
  ask<T>(work: (chargeTransaction: ChargeTransaction) => T, kind: 'reads' | 'writes'): Promise<T> {
    if (this.#waiting.length >= MAX_SIZES.sqlitePending) {
      const text = `more than ${MAX_SIZES.sqlitePending} decisions wait for the SQLite store`
      return Promise.reject(
        new StoreError(`${text} (requests arrive faster than its disk or its lock allows)`),
      )
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        run: work,
        writes: kind === 'writes',
        resolve: resolve as (value: unknown) => void,
        reject,
      })
      this.#schedule()
    })
  }

  /** Resolves when no work is waiting. */
  drained(): Promise<void> {
    if (this.#waiting.length === 0) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.#runNext())
  }

  #runNext(): void {
    this.#isScheduled = false
    const works = this.#waiting.splice(0, MAX_SIZES.sqliteBatch)
    const lockedOut = this.#run(works)
    if (lockedOut.length > 0 && this.#canWaitForLock()) {
      this.#waiting.unshift(...lockedOut)
      this.#isScheduled = true
      startAwaitedTimer(this.#options.clock, RETRY_MS, () => this.#runNext())
      return
    }
    for (const work of lockedOut) work.reject(wrapSqliteError(this.#lock, 'decide'))
    if (this.#waiting.length > 0) this.#schedule()
    else for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** Returns false after a wait that was too long: new work is then tried once, until the lock is free again. */
  #canWaitForLock(): boolean {
    const nowMs = this.#options.clock.now()
    this.#lockedSinceMs ??= nowMs
    return nowMs - this.#lockedSinceMs < this.#options.lockWaitMs
  }

  /** Runs work in one transaction; returns the work that met a lock of another connection. Other work is answered. */
  #run(works: readonly Work[]): readonly Work[] {
    const writes = works.some(work => work.writes)
    let answers: unknown[]
    try {
      // Not prepared, because libsql leaves a statement that met a lock half done, and then commits nothing.
      this.#database.exec(writes ? 'BEGIN IMMEDIATE' : 'BEGIN')
      const chargeTransaction = new ChargeTransaction(this.#statements, this.#options.evictor)
      answers = works.map(work => work.run(chargeTransaction))
      chargeTransaction.write()
      this.#database.exec('COMMIT')
    } catch (error) {
      rollBackTransaction(this.#database)
      if (isLocked(error)) {
        this.#lock = error
        return works
      }
      // An error of one work item, such as one from a custom algorithm, must not affect the others: each runs
      // alone.
      if (getSqliteErrorCode(error) === undefined && works.length > 1)
        return works.flatMap(work => this.#run([work]))
      for (const work of works) work.reject(wrapSqliteError(error, 'decide'))
      return []
    }
    if (writes) this.#lockedSinceMs = undefined
    for (const [index, work] of works.entries()) work.resolve(answers[index])
    return []
  }
}
