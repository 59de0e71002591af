import { statSync } from 'node:fs'
import type { SqliteDatabase } from './driver-types.ts'

/** Database file, watched for removal or replacement, after which no other process sees the writes. */
export class WatchedDatabaseFile {
  readonly path: string
  readonly #identity: string | undefined

  constructor(path: string) {
    this.path = path
    this.#identity = identityOf(path)
  }

  /** Returns what happened to the file; undefined if it is the opened one. */
  problem(): string | undefined {
    const identity = identityOf(this.path)
    if (identity === this.#identity) return undefined
    return identity === undefined ? 'was removed' : 'was replaced'
  }
}

/** Returns the file of a database; undefined in memory. */
export function watchDatabaseFile(database: SqliteDatabase): WatchedDatabaseFile | undefined {
  const { file } = database.prepare('PRAGMA database_list').get() as { readonly file: string | null }
  return file === '' || file === null ? undefined : new WatchedDatabaseFile(file)
}

function identityOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  return found && `${found.dev} ${found.ino}`
}
