import { readFileSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { type PolicyError, policyError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { writePrivateFile } from '../../core/write-private-file.ts'
import { formatTokenFile, parseTokens, type TokenEntry } from './tokens.ts'

/** Interval between checks of the file for changes. */
const CHECK_MS = 1_000
const WRITABLE_BY_OTHERS = 0o022

/** Tokens of a file, read again within a second of each change. */
export class TokenFile {
  readonly #path: string
  readonly #logger: Logger
  #entries: readonly TokenEntry[]
  #stamp: string
  #checkedAtMs = Number.NEGATIVE_INFINITY

  /** Throws PolicyError if the file cannot be read, is invalid, or can be written by other users. */
  constructor(path: string, logger: Logger) {
    this.#path = path
    this.#logger = logger
    this.#stamp = this.#readStamp()
    this.#entries = this.#read()
  }

  /** Returns the tokens. If a changed file is invalid, the error is logged and the earlier tokens stay. */
  entries(nowMs: number): readonly TokenEntry[] {
    if (nowMs - this.#checkedAtMs < CHECK_MS && nowMs >= this.#checkedAtMs) return this.#entries
    this.#checkedAtMs = nowMs
    try {
      const stamp = this.#readStamp()
      if (stamp !== this.#stamp) {
        this.#entries = this.#read()
        this.#stamp = stamp
      }
    } catch (err) {
      this.#logger.error({ err }, 'the token file cannot be used: the earlier tokens stay valid')
    }
    return this.#entries
  }

  #readStamp(): string {
    try {
      const { mtimeMs, size, ino } = statSync(this.#path)
      return `${mtimeMs} ${size} ${ino}`
    } catch (cause) {
      throw unreadable(this.#path, cause)
    }
  }

  #read(): readonly TokenEntry[] {
    if ((statSync(this.#path).mode & WRITABLE_BY_OTHERS) !== 0 && process.platform !== 'win32') {
      throw policyError(this.#path, 'other users may write to the token file', `chmod 600 ${this.#path}`)
    }
    return parseTokens(readFileSync(this.#path, 'utf8'), this.#path)
  }
}

/** Reads the tokens of a file; none if there is no file. Throws PolicyError. */
export async function readTokens(path: string): Promise<readonly TokenEntry[]> {
  try {
    return parseTokens(await readFile(path, 'utf8'), path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return []
    if ((cause as NodeJS.ErrnoException).code !== undefined && !(cause as PolicyError).problems)
      throw unreadable(path, cause)
    throw cause
  }
}

/** Replaces a token file in one step; only its owner may read it. */
export function writeTokens(path: string, entries: readonly TokenEntry[]): Promise<void> {
  return writePrivateFile(path, formatTokenFile(entries))
}

function unreadable(path: string, cause: unknown): PolicyError {
  const { code = String(cause) } = cause as NodeJS.ErrnoException
  return policyError(
    path,
    `the token file cannot be read: ${code}`,
    `create a token: topicgate token create NAME --role admin --tokens ${path}`,
  )
}
