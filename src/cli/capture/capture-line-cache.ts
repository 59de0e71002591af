import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { CapturedMessage } from '../../core/message-from-fields.ts'

/** A line without the numbers of `at` and `size`. */
interface KnownLine {
  /** Index of its bytes in those of all known lines. */
  readonly start: number
  /** Number of its bytes before the size, and after it. */
  readonly headBytes: number
  readonly tailBytes: number
  /** Its message, of any size. */
  readonly message: CapturedMessage
  readonly number: number
}

const AT = '{"at":'
const SIZE = '"size":'
const LINE_FEED = 0x0a
const ZERO = 0x30
const COMMA = 0x2c
const CLOSING_BRACE = 0x7d
const LETTER_Z = 0x7a
/** Bytes of `SIZE` up to its z, which is rare. */
const SIZE_Z = SIZE.indexOf('z')

/** Bytes of a word. Bytes are scanned, hashed and compared in words, because that takes a third of the time. */
const WORD = 4
const LINE_FEEDS = 0x0a0a0a0a
const LETTERS_Z = 0x7a7a7a7a
/** The lowest and the highest bits of the bytes of a word. */
const LOW_BITS = 0x01010101
const HIGH_BITS = 0x80808080
/** Odd numbers that mix the bits of a hash. */
const MIX_WORD = 0x9e3779b1
const MIX_BYTE = 0x01000193

/** Longer numbers may be rounded. */
const MAX_DIGITS = 15
const MAX_LINE_BYTES = 2_048
const MIN_KNOWN_BYTES = 65_536
/** A full cache is kept while so many lines are found for each one that is not. */
const MIN_HIT_RATIO = 0.1

/** Text of lines in which another `at` or `size` may mean something else, or whose other values differ too often. */
const UNCACHED = /[\\{]|"(?:at|size|payload|took|ok)"/

/**
 * Caches the messages of a capture by the bytes of their lines without the numbers of `at` and `size`, because many lines of a
 * device differ in nothing else. A line is found only if parsing it would give the same message. Why: parsing takes three times
 * as long.
 */
export class CaptureLineCache {
  readonly #known = new Map<number, KnownLine>()
  /** Bytes of all known lines, up to `#knownEnd`. Why one array: one for each line costs a cache miss. */
  #knownBytes: DataView<ArrayBuffer> = new DataView(new ArrayBuffer(0))
  #knownEnd = 0
  /** Number of lines that were added, and of those that were forgotten since. */
  #added = 0
  #forgotten = 0
  /** Number of lines that were found, and of those that were not added, since the cache is full. */
  #hits = 0
  #misses = 0
  #lines: Buffer = Buffer.alloc(0)
  /** View of `#lines`. */
  #view: DataView<ArrayBufferLike> = new DataView(new ArrayBuffer(0))
  // Parts of the line that was searched last. Without a size, `#sizeStart` and `#sizeEnd` equal `#end`.
  #atMs = 0
  #atEnd = 0
  #size = 0
  #sizeStart = 0
  #sizeEnd = 0
  #end = 0
  #number: number | undefined

  /** Time of the line that was found last, in milliseconds. */
  get atMs(): number {
    return this.#atMs
  }

  /** Index after the line that was found last, where its line feed is. */
  get end(): number {
    return this.#end
  }

  /**
   * Number of the line that was found or added last, counted from 0; undefined if it was not. Only the last
   * `MAX_SIZES.cachedCaptureLines` numbers are found.
   */
  get number(): number | undefined {
    return this.#number
  }

  /** Returns a new message for the line that starts at an index; undefined if the line is not known. */
  find(lines: Buffer, from: number): CapturedMessage | undefined {
    this.#number = undefined
    if (!this.#split(lines, from)) return undefined
    const known = this.#known.get(this.#hash())
    if (known === undefined || !this.#equals(known)) return undefined
    this.#number = known.number
    this.#hits++
    // Always a copy: a gate remembers connects by their message.
    return known.message.withSize(this.#sizeEnd === this.#end ? known.message.size : this.#size)
  }

  /** Adds the message of a line that was parsed, unless it is one of those that are not cached. */
  add(lines: Buffer, from: number, message: CapturedMessage): void {
    this.#number = undefined
    if (!this.#split(lines, from) || lines[this.#atEnd] !== COMMA) return
    const head = lines.subarray(this.#atEnd, this.#sizeStart)
    const tail = lines.subarray(this.#sizeEnd, this.#end)
    if (head.length + tail.length > MAX_LINE_BYTES) return
    if (tail.length > 0 && tail[0] !== COMMA && tail[0] !== CLOSING_BRACE) return
    const fields = tail.length > 0 ? head.subarray(0, -SIZE.length) : head
    if (UNCACHED.test(fields.toString()) || UNCACHED.test(tail.toString())) return
    if (!this.#makeRoom(head.length + tail.length)) return
    const start = this.#store(head, tail)
    const number = this.#added++
    this.#number = number
    this.#known.set(this.#hash(), { start, headBytes: head.length, tailBytes: tail.length, message, number })
  }

  /** Returns false if the cache is full. Forgets all lines if few are found while as many others come as it holds. */
  #makeRoom(bytes: number): boolean {
    const { cachedCaptureLines, cachedCaptureLineBytes } = MAX_SIZES
    const lines = this.#added - this.#forgotten
    if (lines < cachedCaptureLines && this.#knownEnd + bytes <= cachedCaptureLineBytes) return true
    if (this.#misses++ === 0) this.#hits = 0
    // Why not at once: of lines that repeat in turn, more than the cache holds, none would ever be found.
    if (this.#misses < lines) return false
    const isUseful = this.#hits > this.#misses * MIN_HIT_RATIO
    this.#misses = 0
    if (isUseful) return false
    this.#known.clear()
    this.#knownEnd = 0
    this.#forgotten = this.#added
    return true
  }

  /** Copies the bytes of a line. Returns their index. */
  #store(head: Buffer, tail: Buffer): number {
    const start = this.#knownEnd
    this.#knownEnd += head.length + tail.length
    if (this.#knownEnd > this.#knownBytes.byteLength) this.#grow()
    const known = new Uint8Array(this.#knownBytes.buffer)
    known.set(head, start)
    known.set(tail, start + head.length)
    return start
  }

  #grow(): void {
    const grown = new Uint8Array(
      Math.min(MAX_SIZES.cachedCaptureLineBytes, Math.max(MIN_KNOWN_BYTES, 2 * this.#knownEnd)),
    )
    grown.set(new Uint8Array(this.#knownBytes.buffer))
    this.#knownBytes = new DataView(grown.buffer)
  }

  /** Finds the parts of a line. Returns false if it does not begin with a time, or has a number that is not plain. */
  #split(lines: Buffer, from: number): boolean {
    if (lines !== this.#lines) {
      this.#lines = lines
      this.#view = new DataView(lines.buffer, lines.byteOffset, lines.length)
    }
    for (let index = 0; index < AT.length; index++) {
      if (lines[from + index] !== AT.charCodeAt(index)) return false
    }
    let offset = from + AT.length
    let digit = lines[offset]! - ZERO
    let atMs = 0
    while (digit >= 0 && digit <= 9) {
      atMs = atMs * 10 + digit
      digit = lines[++offset]! - ZERO
    }
    if (!isNumber(lines, from + AT.length, offset)) return false
    this.#atMs = atMs
    this.#atEnd = offset
    let hasSize = false
    for (;;) {
      offset = this.#findMark(offset, lines.length)
      if (offset === lines.length || lines[offset] === LINE_FEED) break
      offset++
      if (hasSize || !isSizeKey(lines, offset - 1 - SIZE_Z)) continue
      hasSize = true
      offset += SIZE.length - SIZE_Z - 1
      this.#sizeStart = offset
      digit = lines[offset]! - ZERO
      let size = 0
      while (digit >= 0 && digit <= 9) {
        size = size * 10 + digit
        digit = lines[++offset]! - ZERO
      }
      if (!isNumber(lines, this.#sizeStart, offset)) return false
      this.#size = size
      this.#sizeEnd = offset
    }
    this.#end = offset
    if (!hasSize) {
      this.#sizeStart = offset
      this.#sizeEnd = offset
    }
    return true
  }

  /** Returns the index of the next line feed or z; the end if there is none. */
  #findMark(from: number, end: number): number {
    const view = this.#view
    let offset = from
    for (; offset + WORD <= end; offset += WORD) {
      const word = view.getInt32(offset, true)
      if (hasZeroByte(word ^ LINE_FEEDS) || hasZeroByte(word ^ LETTERS_Z)) break
    }
    for (; offset < end; offset++) {
      const byte = view.getUint8(offset)
      if (byte === LINE_FEED || byte === LETTER_Z) break
    }
    return offset
  }

  /** Returns a hash of the parts of the line that was split. */
  #hash(): number {
    return this.#hashBytes(this.#hashBytes(0, this.#atEnd, this.#sizeStart), this.#sizeEnd, this.#end)
  }

  #hashBytes(before: number, from: number, end: number): number {
    const view = this.#view
    let hash = before
    let offset = from
    for (; offset + WORD <= end; offset += WORD) {
      hash = Math.imul(hash ^ view.getInt32(offset, true), MIX_WORD)
      hash ^= hash >>> 15
    }
    for (; offset < end; offset++) hash = Math.imul(hash ^ view.getUint8(offset), MIX_BYTE)
    return hash
  }

  /** Returns true if the line that was split is a known one. */
  #equals({ start, headBytes, tailBytes }: KnownLine): boolean {
    return (
      headBytes === this.#sizeStart - this.#atEnd &&
      tailBytes === this.#end - this.#sizeEnd &&
      this.#equalBytes(start, this.#atEnd, headBytes) &&
      this.#equalBytes(start + headBytes, this.#sizeEnd, tailBytes)
    )
  }

  #equalBytes(knownFrom: number, from: number, bytes: number): boolean {
    const known = this.#knownBytes
    const view = this.#view
    let offset = 0
    for (; offset + WORD <= bytes; offset += WORD) {
      if (known.getInt32(knownFrom + offset, true) !== view.getInt32(from + offset, true)) return false
    }
    for (; offset < bytes; offset++) {
      if (known.getUint8(knownFrom + offset) !== view.getUint8(from + offset)) return false
    }
    return true
  }
}

function hasZeroByte(word: number): boolean {
  return ((word - LOW_BITS) & ~word & HIGH_BITS) !== 0
}

function isSizeKey(lines: Buffer, from: number): boolean {
  for (let index = 0; index < SIZE.length; index++) {
    if (lines[from + index] !== SIZE.charCodeAt(index)) return false
  }
  return true
}

/** Returns true for digits that are a number in JSON, which has no zeros before it. */
function isNumber(lines: Buffer, from: number, end: number): boolean {
  const digits = end - from
  return digits === 1 || (digits > 1 && digits <= MAX_DIGITS && lines[from] !== ZERO)
}
