import { isUtf8 } from 'node:buffer'
import { MAX_SIZES } from '../core/max-sizes.ts'

const LINE_FEED = 0x0a
const BYTE_ORDER_MARK = '\uFEFF'

/** Error of an unreadable line of a stream. */
export class LineError extends Error {
  override readonly name = 'LineError'
  readonly code = 'TOPICGATE_LINE'
}

/**
 * Splits a stream of bytes into lines of text, with at most one chunk and one line in memory. Throws LineError for a
 * line that is not UTF-8 or longer than `MAX_SIZES.captureLineBytes`.
 */
export class LineSplitter {
  #rest: Buffer[] = []
  #restBytes = 0
  #first = true

  /** Returns true if an incomplete line is left for `end`. */
  get isOpen(): boolean {
    return this.#restBytes > 0
  }

  /** Yields the lines that a chunk completes, without line feeds. */
  *push(chunk: Buffer): Generator<string> {
    const last = chunk.lastIndexOf(LINE_FEED)
    if (last < 0) {
      if (chunk.length > 0) this.#keep(chunk)
      return
    }
    let from = 0
    if (this.isOpen || this.#first) {
      const end = chunk.indexOf(LINE_FEED)
      yield this.#complete(chunk.subarray(0, end))
      from = end + 1
    }
    const block = chunk.subarray(from, last)
    // Decoding many lines at once takes a third of the time. One by one, the wrong line is known.
    const isText = block.length <= MAX_SIZES.captureLineBytes && isUtf8(block)
    if (from <= last) yield* isText ? block.toString('utf8').split('\n') : this.#splitBytes(block)
    if (last + 1 < chunk.length) this.#keep(chunk.subarray(last + 1))
  }

  /** Yields lines one by one, up to an invalid one. */
  *#splitBytes(block: Buffer): Generator<string> {
    let from = 0
    for (let end = block.indexOf(LINE_FEED); end >= 0; end = block.indexOf(LINE_FEED, from)) {
      yield this.#complete(block.subarray(from, end))
      from = end + 1
    }
    yield this.#complete(block.subarray(from))
  }

  /** Yields the last line if it had no line feed. */
  *end(): Generator<string> {
    if (this.isOpen) yield this.#complete(Buffer.alloc(0))
  }

  #complete(bytes: Buffer): string {
    let line = bytes
    if (this.isOpen) {
      this.#keep(bytes)
      line = Buffer.concat(this.#rest)
      this.#rest = []
      this.#restBytes = 0
    }
    if (line.length > MAX_SIZES.captureLineBytes) {
      throw new LineError(`the line is longer than ${MAX_SIZES.captureLineBytes} bytes`)
    }
    if (!isUtf8(line)) throw new LineError('the line is not UTF-8')
    const text = line.toString('utf8')
    const marked = this.#first && text.startsWith(BYTE_ORDER_MARK)
    this.#first = false
    return marked ? text.slice(1) : text
  }

  #keep(bytes: Buffer): void {
    this.#restBytes += bytes.length
    if (this.#restBytes > MAX_SIZES.captureLineBytes) {
      throw new LineError(`the line is longer than ${MAX_SIZES.captureLineBytes} bytes`)
    }
    this.#rest.push(bytes)
  }
}
