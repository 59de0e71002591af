import { statSync } from 'node:fs'
import type { SqliteDatabase } from './database.ts'

/** The file of a database, to notice that it was removed or replaced: what is written then is lost to all others. */
export class WatchedFile {
  readonly path: string
  readonly #identity: string | undefined

  constructor(path: string) {
    this.path = path
    this.#identity = identityOf(path)
  }

  /** What became of the file, in words; undefined if it is the one that was opened. */
  problem(): string | undefined {
    const identity = identityOf(this.path)
    if (identity === this.#identity) return undefined
    return identity === undefined ? 'was removed' : 'was replaced'
  }
}

/** The file a database was opened with; undefined in memory. */
export function fileOf(database: SqliteDatabase): WatchedFile | undefined {
  const { file } = database.prepare('PRAGMA database_list').get() as { readonly file: string | null }
  return file === '' || file === null ? undefined : new WatchedFile(file)
}

function identityOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  return found && `${found.dev} ${found.ino}`
}
