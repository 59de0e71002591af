import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import type { CaptureRecord } from './capture-format.ts'
import { CommandError, EXIT } from './command-error.ts'
import { formatCount } from './format.ts'
import { LineError, LineSplitter } from './line-splitter.ts'

/** Parses lines of a capture. `read` throws LineError for an invalid one. */
export interface CaptureLineReader<T> {
  read(line: string): T
}

/** A capture in a file or on the standard input, read line by line. */
export class CaptureFileReader<T = CaptureRecord> {
  readonly #path: string
  readonly #stdin: Readable
  readonly #reader: CaptureLineReader<T>
  #line = 0
  #read = 0

  /** `-` is the standard input. */
  constructor(path: string, stdin: Readable, reader: CaptureLineReader<T>) {
    this.#path = path
    this.#stdin = stdin
    this.#reader = reader
  }

  /** Number of the line that was read last, from 1. */
  get line(): number {
    return this.#line
  }

  /** Yields the messages in order, in chunks. Pass errors to `describe`. */
  async *chunks(): AsyncGenerator<Iterable<T>> {
    const splitter = new LineSplitter()
    for await (const chunk of this.#open()) yield this.#readAll(splitter.push(chunk as Buffer))
    yield this.#readAll(splitter.end())
  }

  /** Converts a read error to a CommandError with file and line, exit code 1. Returns other errors unchanged. */
  toCommandError(error: unknown): unknown {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'EISDIR' || code === 'EACCES') {
      const reason =
        code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'this is a folder' : code
      return new CommandError(
        `${this.#path}: ${reason} (name a capture, or - for the standard input)`,
        EXIT.failed,
      )
    }
    if (!(error instanceof LineError)) return error
    const place = `${this.#path === '-' ? '(standard input)' : this.#path}:${this.#line}`
    const before = this.#read === 1 ? '1 line was' : `${formatCount(this.#read)} lines were`
    const text = `${place}: ${error.message}\n${before} decided before it`
    return new CommandError(text, EXIT.failed, { cause: error })
  }

  #open(): Readable {
    return this.#path === '-' ? this.#stdin : createReadStream(this.#path, { highWaterMark: 1 << 18 })
  }

  *#readAll(lines: Iterator<string>): Generator<T> {
    for (;;) {
      // Count before reading, so that errors of an incomplete line have its number.
      this.#line++
      const { value: line, done } = lines.next()
      if (done) {
        this.#line--
        return
      }
      if (line.trim() === '') continue
      const captured = this.#reader.read(line)
      this.#read++
      yield captured
    }
  }
}
