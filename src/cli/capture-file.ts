import { createReadStream } from 'node:fs'
import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { isCaptureHeader } from './capture/capture-version.ts'
import type { CaptureRecord } from './capture-format.ts'
import { CommandError, EXIT } from './command-error.ts'
import { formatCount } from './format.ts'
import { LineError, LineSplitter } from './line-splitter.ts'

/** First bytes of gzip data (RFC 1952). */
const GZIP = Buffer.from([0x1f, 0x8b])

/** Parses lines of a capture. `read` throws LineError for an invalid one. */
export interface CaptureLineReader<T> {
  read(line: string): T
}

/** A capture in a file or on the standard input, read line by line. It may be compressed with gzip. */
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
    for await (const chunk of decompress(this.#open())) yield this.#readAll(splitter.push(chunk))
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
    const isLine = error instanceof LineError
    const problem = isLine ? error.message : describeGzipError(code)
    if (problem === undefined) return error
    const line = isLine ? this.#line : this.#line + 1
    const place = `${this.#path === '-' ? '(standard input)' : this.#path}:${line}`
    const before = this.#read === 1 ? '1 message was' : `${formatCount(this.#read)} messages were`
    const text = `${place}: ${problem}\n${before} read before it`
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
      if (line.trim() === '' || isCaptureHeader(line)) continue
      const captured = this.#reader.read(line)
      this.#read++
      yield captured
    }
  }
}

/** Yields the bytes of a stream, decompressed if it begins as gzip does. */
async function* decompress(source: Readable): AsyncGenerator<Buffer> {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let head: Buffer = Buffer.alloc(0)
  while (head.length < GZIP.length) {
    const { value, done } = await chunks.next()
    if (done === true) break
    head = Buffer.concat([head, value])
  }
  const whole = prepend(head, chunks)
  if (head.subarray(0, GZIP.length).equals(GZIP)) {
    // Errors of the source are those of the last stream, which the loop reads.
    yield* pipeline(Readable.from(whole), createGunzip(), () => {}) as AsyncIterable<Buffer>
  } else yield* whole
}

async function* prepend(head: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield head
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
}

/** Describes an error of zlib with its remedy; undefined for another error. */
function describeGzipError(code: unknown): string | undefined {
  if (code === 'Z_BUF_ERROR') return 'the gzip data ends early (copy the file again, or record it anew)'
  if (typeof code === 'string' && code.startsWith('Z_'))
    return 'the gzip data is damaged (copy the file again, or record it anew)'
  return undefined
}
