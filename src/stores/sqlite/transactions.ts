import { afterAwaited, type Clock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { ChargeTransaction } from './charge-transaction.ts'
import type { SqliteDatabase } from './database.ts'
import type { Evictor } from './evictor.ts'
import { undo } from './schema.ts'
import { codeOf, isLocked, storeError } from './sqlite-errors.ts'
import { prepare, type Statements } from './statements.ts'

/** Between two tries for a lock that another process holds. */
const RETRY_MS = 5

/** Something to do in a transaction. */
interface Work {
  readonly run: (chargeTransaction: ChargeTransaction) => unknown
  readonly writes: boolean
  readonly resolve: (value: unknown) => void
  readonly reject: (error: StoreError) => void
}

export interface TransactionsOptions {
  readonly clock: Clock
  /** Longest wait for a lock before what waits is refused with StoreError, in milliseconds. */
  readonly lockWaitMs: number
  readonly evictor: Evictor
}

/**
 * One after another, what was asked in the same turn of the event loop in one transaction; answers come after its
 * commit. A lock held by another process is waited for without blocking the loop.
 */
export class Transactions {
  #database: SqliteDatabase
  #statements: Statements
  readonly #options: TransactionsOptions
  #waiting: Work[] = []
  #isScheduled = false
  /** Since when another connection has held the lock. */
  #lockedSinceMs: number | undefined
  #lock: unknown
  #idle: (() => void)[] = []

  constructor(database: SqliteDatabase, options: TransactionsOptions) {
    this.#database = database
    this.#statements = prepare(database)
    this.#options = options
  }

  /** Uses another connection from now on. Between two turns of the event loop no transaction is open. */
  use(database: SqliteDatabase): void {
    this.#statements = prepare(database)
    this.#database = database
  }

  /** Lets go of the statements: a driver may keep the file open as long as one of them is referenced. */
  release(): void {
    this.#statements = {} as Statements
  }

  /** Runs `work` in the next transaction; it may run twice, and what it wrote the first time is then undone. */
  ask<T>(work: (chargeTransaction: ChargeTransaction) => T, kind: 'reads' | 'writes'): Promise<T> {
    if (this.#waiting.length >= MAX_SIZES.sqlitePending) {
      const text = `more than ${MAX_SIZES.sqlitePending} decisions wait for the SQLite store`
      return Promise.reject(new StoreError(`${text} (it is asked faster than its disk or its lock allows)`))
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

  /** Resolves when nothing waits. */
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
    if (lockedOut.length > 0 && this.#isPatient()) {
      this.#waiting.unshift(...lockedOut)
      this.#isScheduled = true
      afterAwaited(this.#options.clock, RETRY_MS, () => this.#runNext())
      return
    }
    for (const work of lockedOut) work.reject(storeError(this.#lock, 'decide'))
    if (this.#waiting.length > 0) this.#schedule()
    else for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** Waited too long once, what comes is tried once each, until the lock is free again. */
  #isPatient(): boolean {
    const nowMs = this.#options.clock.now()
    this.#lockedSinceMs ??= nowMs
    return nowMs - this.#lockedSinceMs < this.#options.lockWaitMs
  }

  /** Returns what could not be done because another connection holds the lock; all else is answered. */
  #run(works: readonly Work[]): readonly Work[] {
    const writes = works.some(work => work.writes)
    let answers: unknown[]
    try {
      // No prepared statements: libsql leaves one that met a lock half done, and then commits nothing.
      this.#database.exec(writes ? 'BEGIN IMMEDIATE' : 'BEGIN')
      const chargeTransaction = new ChargeTransaction(this.#statements, this.#options.evictor)
      answers = works.map(work => work.run(chargeTransaction))
      chargeTransaction.write()
      this.#database.exec('COMMIT')
    } catch (error) {
      undo(this.#database)
      if (isLocked(error)) {
        this.#lock = error
        return works
      }
      // What throws by itself, as a custom algorithm may, harms nobody else: each is tried alone.
      if (codeOf(error) === undefined && works.length > 1) return works.flatMap(work => this.#run([work]))
      for (const work of works) work.reject(storeError(error, 'decide'))
      return []
    }
    if (writes) this.#lockedSinceMs = undefined
    for (const [index, work] of works.entries()) work.resolve(answers[index])
    return []
  }
}
