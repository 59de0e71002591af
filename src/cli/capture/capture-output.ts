import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { CommandError, EXIT } from '../command-error.ts'
import { type Terminal, write } from '../terminal.ts'

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
}

/**
 * Writes lines of a capture to files of a bounded size and number: `name.jsonl.gz`, `name.2.jsonl.gz` and so on. A
 * compressed file has one gzip member for each batch, so that an interrupted one is readable up to its last batch.
 */
export class CaptureOutput {
  readonly #options: CaptureOutputOptions
  readonly #terminal: Terminal
  #batch = ''
  #open: number | undefined
  #bytes = 0
  /** Files so far. */
  #count = 0

  /** Throws CommandError if the file cannot be written. */
  constructor(options: CaptureOutputOptions, terminal: Terminal) {
    this.#options = options
    this.#terminal = terminal
    if (options.file !== undefined) this.#openNext(options.file)
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

  /** Writes the lines so far. Rejects with CommandError if that fails. */
  async flush(): Promise<void> {
    const batch = this.#batch
    this.#batch = ''
    const { file, rotateBytes, header } = this.#options
    if (batch === '') return
    if (file !== undefined && this.#bytes >= rotateBytes) this.#openNext(file)
    const text = this.#bytes === 0 && header !== undefined ? `${header}\n${batch}` : batch
    const bytes = file?.endsWith('.gz') === true ? gzipSync(text) : Buffer.from(text)
    this.#bytes += bytes.length
    const opened = this.#open
    if (file === undefined || opened === undefined) await write(this.#terminal.stdout, text)
    else this.#explained(file, () => writeAll(opened, bytes))
  }

  async close(): Promise<void> {
    try {
      await this.flush()
    } finally {
      if (this.#open !== undefined) closeSync(this.#open)
      this.#open = undefined
    }
  }

  #openNext(file: string): void {
    if (this.#open !== undefined) closeSync(this.#open)
    this.#open = undefined
    this.#count++
    this.#bytes = 0
    const oldest = this.#count - this.#options.files
    if (oldest >= 1) rmSync(numbered(file, oldest), { force: true })
    this.#open = this.#explained(file, () => openSync(numbered(file, this.#count), 'w'))
  }

  #explained<T>(file: string, run: () => T): T {
    try {
      return run()
    } catch (cause) {
      const { code = '' } = cause as NodeJS.ErrnoException
      const text = `${file}: the capture cannot be written: ${code} (name another file)`
      throw new CommandError(text, EXIT.failed, { cause })
    }
  }
}

/** Returns the name of a file of a capture: `name.2.jsonl.gz` for the second one of `name.jsonl.gz`. */
function numbered(file: string, count: number): string {
  if (count === 1) return file
  const [, name = file, extensions = ''] = /^(.*?[^/.])((?:\.[A-Za-z0-9]+){0,2})$/.exec(file) ?? []
  return `${name}.${count}${extensions}`
}

function writeAll(file: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written)
}
