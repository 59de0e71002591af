import { close, ftruncate, open, openSync, rmSync, statSync, write as writeFile } from 'node:fs'
import { rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { findNumbers, numberedFileName } from './capture-file-names.ts'

const compress = promisify(gzip)
const openFile = promisify(open)
const writeBytes = promisify(writeFile)
const truncateFile = promisify(ftruncate)
const closeFile = promisify(close)

/** Characters collected before they are written. */
const BATCH_CHARS = 262_144

export interface CaptureOutputOptions {
  /** File of the capture, compressed if its name ends with .gz; default: the standard output. */
  readonly file?: string | undefined
  /** Bytes of a file after which the next one begins. */
  readonly rotateBytes: number
  /** Number of files, of which the oldest is removed for a new one. */
  readonly files: number
  /** First line of each file, if the capture has one. */
  readonly header?: string | undefined
  /** True: continues after the files of an earlier run. Default: false, which overwrites the first and refuses others. */
  readonly keepsFiles?: boolean | undefined
}

/**
 * Writes lines of a capture to files of a bounded size and number: `name.jsonl.gz`, `name.2.jsonl.gz` and so on. A
 * compressed file has one gzip member for each batch, so that an interrupted one is readable up to its last batch. Files
 * are written without blocking the process.
 */
export class CaptureOutput {
  readonly #options: CaptureOutputOptions
  readonly #terminal: Terminal
  #batch = ''
  #open: number | undefined
  #bytes = 0
  /** Number of the file that is written. */
  #number = 1

  /** Throws CommandError if the file cannot be written, or if others of an earlier capture would be read after it. */
  constructor(options: CaptureOutputOptions, terminal: Terminal) {
    this.#options = options
    this.#terminal = terminal
    const { file, keepsFiles = false } = options
    if (file === undefined) return
    try {
      if (keepsFiles) this.#continueAfterFiles(file)
      else refuseOthers(file)
      this.#open = openSync(numberedFileName(file, this.#number), 'w')
    } catch (cause) {
      throw explained(file, cause)
    }
  }

  /** Characters that wait to be written. */
  get waitingChars(): number {
    return this.#batch.length
  }

  /** Adds a line without a line break. Returns true if `flush` should be awaited. */
  add(line: string): boolean {
    this.#batch += `${line}\n`
    return this.#batch.length >= BATCH_CHARS
  }

  /** Writes the lines so far. Call it again only after it has ended. Rejects with CommandError if that fails. */
  async flush(): Promise<void> {
    const batch = this.#batch
    this.#batch = ''
    const { file, rotateBytes, header } = this.#options
    if (batch === '') return
    try {
      if (file !== undefined && this.#bytes >= rotateBytes) await this.#openNext(file)
      const text = this.#bytes === 0 && header !== undefined ? `${header}\n${batch}` : batch
      if (file === undefined || this.#open === undefined) await write(this.#terminal.stdout, text)
      else await this.#write(this.#open, file.endsWith('.gz') ? await compress(text) : Buffer.from(text))
    } catch (cause) {
      throw file === undefined ? cause : explained(file, cause)
    }
  }

  async close(): Promise<void> {
    try {
      await this.flush()
    } finally {
      await this.#close()
    }
  }

  /** Continues after the last non-empty file, and removes the oldest files above the maximum number. */
  #continueAfterFiles(file: string): void {
    const numbers = findNumbers(file)
    const last = Math.max(0, ...numbers)
    this.#number = last > 0 && statSync(numberedFileName(file, last)).size === 0 ? last : last + 1
    for (const number of numbers)
      if (number <= this.#number - this.#options.files) rmSync(numberedFileName(file, number))
  }

  async #openNext(file: string): Promise<void> {
    await this.#close()
    this.#number++
    this.#bytes = 0
    const oldest = this.#number - this.#options.files
    if (oldest >= 1) await rm(numberedFileName(file, oldest), { force: true })
    this.#open = await openFile(numberedFileName(file, this.#number), 'w')
  }

  /** Writes a batch. If that fails, as on a full disk, truncates the file to the last complete batch. */
  async #write(opened: number, bytes: Buffer): Promise<void> {
    try {
      for (let written = 0; written < bytes.length; ) {
        const { bytesWritten } = await writeBytes(opened, bytes, written)
        written += bytesWritten
      }
      this.#bytes += bytes.length
    } catch (error) {
      await truncateFile(opened, this.#bytes).catch(() => {})
      throw error
    }
  }

  async #close(): Promise<void> {
    const opened = this.#open
    this.#open = undefined
    if (opened !== undefined) await closeFile(opened)
  }
}

function refuseOthers(file: string): void {
  const other = findNumbers(file).find(number => number > 1)
  if (other === undefined) return
  const text = `${numberedFileName(file, other)} is there from an earlier capture (remove it, or name another file)`
  throw new CommandError(text, EXIT.failed)
}

function explained(file: string, cause: unknown): CommandError {
  if (cause instanceof CommandError) return cause
  const { code = '' } = cause as NodeJS.ErrnoException
  const text = `${file}: the capture cannot be written: ${code} (name another file)`
  return new CommandError(text, EXIT.failed, { cause })
}
