import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import type { CaptureReader, CaptureRecord } from './capture-format.ts'
import { CommandError, EXIT } from './command-error.ts'
import { formatCount } from './format.ts'
import { LineError, LineSplitter } from './line-splitter.ts'

/** A capture in a file or on the standard input, read line by line. */
export class CaptureFileReader {
  readonly #path: string
  readonly #stdin: Readable
  readonly #reader: CaptureReader
  #line = 0
  #read = 0

  /** `-` is the standard input. */
  constructor(path: string, stdin: Readable, reader: CaptureReader) {
    this.#path = path
    this.#stdin = stdin
    this.#reader = reader
  }

  /** Yields the messages in order, in chunks. Pass errors to `describe`. */
  async *chunks(): AsyncGenerator<Iterable<CaptureRecord>> {
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

  *#readAll(lines: Iterator<string>): Generator<CaptureRecord> {
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
