import { isUtf8 } from 'node:buffer'
import { MAX_SIZES } from '../core/max-sizes.ts'

const LINE_FEED = 0x0a
const BYTE_ORDER_MARK = '\uFEFF'

/** A line of a stream that cannot be read, and why. */
export class LineError extends Error {
  override readonly name = 'LineError'
  readonly code = 'TOPICGATE_LINE'
}

/**
 * Cuts a stream of bytes into lines of text, with no more of it in memory than one chunk and one line. A line that
 * is not UTF-8 or longer than `BOUNDS.captureLineBytes` throws LineError.
 */
export class LineSplitter {
  #rest: Buffer[] = []
  #restBytes = 0
  #first = true

  /** Whether the last line is still to come, with `end`. */
  get isOpen(): boolean {
    return this.#restBytes > 0
  }

  /** The lines that a chunk completes, without their ends. */
  *push(chunk: Buffer): Generator<string> {
    let from = 0
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, from)) {
      yield this.#complete(chunk.subarray(from, end))
      from = end + 1
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from))
  }

  /** The last line, where no line feed closed it. */
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
