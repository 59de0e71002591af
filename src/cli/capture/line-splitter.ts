import { isUtf8 } from 'node:buffer'
import { MAX_SIZES } from '../../core/max-sizes.ts'

const LINE_FEED = 0x0a
const BYTE_ORDER_MARK = Buffer.from('\uFEFF')
const NOTHING = Buffer.alloc(0)

/** Error of an unreadable line of a stream. */
export class LineError extends Error {
  override readonly name = 'LineError'
  readonly code = 'TOPICGATE_LINE'
}

/** Cuts a stream of bytes into blocks of whole lines, with at most one chunk and one line in memory. */
export class LineBlocks {
  #rest: Buffer[] = []
  #restBytes = 0
  #isFirst = true

  /** Returns the lines that a chunk completes, with their line feeds. Throws LineError for a line without end. */
  push(chunk: Buffer): Buffer {
    const end = chunk.lastIndexOf(LINE_FEED) + 1
    const block = end === 0 ? NOTHING : this.#complete(chunk.subarray(0, end))
    if (end < chunk.length) this.#keep(chunk.subarray(end))
    return block
  }

  /** Returns the last line if it had no line feed. */
  end(): Buffer {
    return this.#complete(NOTHING)
  }

  #complete(bytes: Buffer): Buffer {
    let block = bytes
    if (this.#restBytes > 0) {
      block = Buffer.concat([...this.#rest, bytes])
      this.#rest = []
      this.#restBytes = 0
    }
    const isMarked = this.#isFirst && block.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
    if (block.length > 0) this.#isFirst = false
    return isMarked ? block.subarray(BYTE_ORDER_MARK.length) : block
  }

  #keep(bytes: Buffer): void {
    this.#restBytes += bytes.length
    if (this.#restBytes > MAX_SIZES.captureLineBytes) throw tooLong()
    this.#rest.push(bytes)
  }
}

/** Returns the index of the line feed of the line that starts at an index; the end of the block if it has none. */
export function endOfLine(block: Buffer, from: number): number {
  const end = block.indexOf(LINE_FEED, from)
  return end < 0 ? block.length : end
}

/** Decodes a line. Throws LineError if it is not UTF-8 or longer than `MAX_SIZES.captureLineBytes`. */
export function decodeLine(bytes: Buffer): string {
  if (bytes.length > MAX_SIZES.captureLineBytes) throw tooLong()
  if (!isUtf8(bytes)) throw new LineError('the line is not UTF-8')
  return bytes.toString('utf8')
}

/** Yields the lines of a block as texts, without line feeds. */
export function* splitLines(block: Buffer): Generator<string> {
  for (let from = 0; from < block.length; ) {
    const end = endOfLine(block, from)
    yield decodeLine(block.subarray(from, end))
    from = end + 1
  }
}

function tooLong(): LineError {
  return new LineError(`the line is longer than ${MAX_SIZES.captureLineBytes} bytes`)
}
