import { createReadStream } from 'node:fs'
import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import type { MaybePromise } from '../../core/message.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { formatCount } from '../terminal/format.ts'
import { listCaptureFiles } from './capture-file-names.ts'
import type { CaptureRecord } from './capture-format.ts'
import { LineBlocks, LineError } from './line-splitter.ts'

/** First bytes of gzip data (RFC 1952). */
const GZIP = Buffer.from([0x1f, 0x8b])

/** Parses lines of a capture. */
export interface CaptureLineReader<T> {
  /** Index after the line that was read last, where its line feed is. */
  readonly end: number
  /** Reads the line that starts at an index; undefined for one without a message. Throws LineError for an invalid line. */
  read(lines: Buffer, from: number): T | undefined
}

/** A capture in a file, with the files that follow it, or on the standard input. Each may be compressed with gzip. */
export class CaptureFileReader<T = CaptureRecord> {
  readonly #path: string
  /** File that is read. */
  #file: string
  readonly #stdin: Readable
  readonly #reader: CaptureLineReader<T>
  #line = 0
  /** Lines of the files before the one that is read. */
  #linesBefore = 0
  #read = 0

  /** `-` is the standard input. */
  constructor(path: string, stdin: Readable, reader: CaptureLineReader<T>) {
    this.#path = path
    this.#file = path
    this.#stdin = stdin
    this.#reader = reader
  }

  /** Number of the line that was read last, from 1, as if all files were one. */
  get line(): number {
    return this.#linesBefore + this.#line
  }

  /**
   * Calls `use` with each message in order, until it returns false, and `afterChunk` now and then. Rejects with CommandError,
   * exit code 1, that has the file and line, if the capture cannot be read.
   */
  async readMessages(
    use: (message: T) => MaybePromise<unknown>,
    afterChunk: () => void = () => {},
  ): Promise<void> {
    try {
      const files = this.#path === '-' ? ['-'] : listCaptureFiles(this.#path)
      for (const file of files) if (!(await this.#readFile(file, use, afterChunk))) return
    } catch (error) {
      throw this.#toCommandError(error)
    }
  }

  /** Throws CommandError if no message was read. Why: a check of no messages must not pass. */
  requireMessage(): void {
    if (this.#read > 0) return
    const name = this.#path === '-' ? '(standard input)' : this.#path
    throw new CommandError(`${name}: there is no message (record a longer capture)`, EXIT.failed)
  }

  /** Returns false if `use` did. */
  async #readFile(
    file: string,
    use: (message: T) => MaybePromise<unknown>,
    afterChunk: () => void,
  ): Promise<boolean> {
    this.#file = file
    this.#linesBefore += this.#line
    this.#line = 0
    const blocks = new LineBlocks()
    for await (const chunk of decompress(this.#open())) {
      if (!(await this.#useAll(this.#complete(blocks, chunk), use))) return false
      afterChunk()
    }
    return this.#useAll(blocks.end(), use)
  }

  /** Converts a read error to a CommandError with file and line, exit code 1. Returns other errors unchanged. */
  #toCommandError(error: unknown): unknown {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'EISDIR' || code === 'EACCES') {
      const reason =
        code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'this is a folder' : code
      return new CommandError(
        `${this.#file}: ${reason} (name a capture, or - for the standard input)`,
        EXIT.failed,
      )
    }
    const isLine = error instanceof LineError
    const problem = isLine ? error.message : describeGzipError(code)
    if (problem === undefined) return error
    const line = isLine ? this.#line : this.#line + 1
    const place = `${this.#file === '-' ? '(standard input)' : this.#file}:${line}`
    const before = this.#read === 1 ? '1 message was' : `${formatCount(this.#read)} messages were`
    const text = `${place}: ${problem}\n${before} read before it`
    return new CommandError(text, EXIT.failed, { cause: error })
  }

  #open(): Readable {
    return this.#file === '-' ? this.#stdin : createReadStream(this.#file, { highWaterMark: 1 << 18 })
  }

  #complete(blocks: LineBlocks, chunk: Buffer): Buffer {
    // An error of an incomplete line has its number.
    this.#line++
    const block = blocks.push(chunk)
    this.#line--
    return block
  }

  /** Returns false if `use` did. */
  async #useAll(lines: Buffer, use: (message: T) => MaybePromise<unknown>): Promise<boolean> {
    for (let from = 0; from < lines.length; from = this.#reader.end + 1) {
      this.#line++
      const message = this.#reader.read(lines, from)
      if (message === undefined) continue
      this.#read++
      const used = use(message)
      // A promise per message would cost more than the decision.
      if ((used instanceof Promise ? await used : used) === false) return false
    }
    return true
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
