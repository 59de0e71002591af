import { MAX_SIZES } from '../core/max-sizes.ts'
import type { CapturedMessage } from '../core/message-from-fields.ts'

/** A line without the numbers of `at` and `size`. */
interface KnownLine {
  readonly bytes: Uint8Array
  /** Its message, of any size. */
  readonly message: CapturedMessage
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

/** Longer numbers may be rounded. */
const MAX_DIGITS = 15
const MAX_LINE_BYTES = 2_048

/** Text of lines in which another `at` or `size` may mean something else, or whose other values differ too often. */
const UNCACHED = /[\\{]|"(?:at|size|payload|took|ok)"/

/**
 * Caches messages of a capture by their line without the numbers of `at` and `size`, in which lines of a device differ. A line
 * that is found is one that JSON.parse accepts, with the same result. Why: parsing takes three times as long.
 */
export class CaptureLineCache {
  readonly #known = new Map<number, KnownLine>()
  // Parts of the line that was searched last. Without a size, both places of it are at the end.
  #atMs = 0
  #atEnd = 0
  #size = 0
  #sizeStart = 0
  #sizeEnd = 0
  #end = 0
  #hash = 0

  /** Time of the line that was found last, in milliseconds. */
  get atMs(): number {
    return this.#atMs
  }

  /** Index after the line that was found last, where its line feed is. */
  get end(): number {
    return this.#end
  }

  /** Returns a new message for the line that starts at an index; undefined if the line is not known. */
  find(lines: Buffer, from: number): CapturedMessage | undefined {
    if (!this.#split(lines, from)) return undefined
    const known = this.#known.get(this.#hash)
    if (known === undefined || !this.#equals(known.bytes, lines)) return undefined
    // Always a copy: a gate remembers connects by their message.
    return known.message.withSize(this.#sizeEnd === this.#end ? known.message.size : this.#size)
  }

  /** Adds the message of a line that was parsed, unless it is one of those that are not cached. */
  add(lines: Buffer, from: number, message: CapturedMessage): void {
    if (!this.#split(lines, from) || lines[this.#atEnd] !== COMMA) return
    const start = lines.subarray(this.#atEnd, this.#sizeStart)
    const rest = lines.subarray(this.#sizeEnd, this.#end)
    if (start.length + rest.length > MAX_LINE_BYTES) return
    if (rest.length > 0 && rest[0] !== COMMA && rest[0] !== CLOSING_BRACE) return
    const fields = rest.length > 0 ? start.subarray(0, -SIZE.length) : start
    if (UNCACHED.test(fields.toString()) || UNCACHED.test(rest.toString())) return
    if (this.#known.size >= MAX_SIZES.cachedCaptureLines) this.#known.clear()
    this.#known.set(this.#hash, { bytes: new Uint8Array(Buffer.concat([start, rest])), message })
  }

  /** Finds the parts of a line. Returns false if it does not begin with a time, or has a number that is not plain. */
  #split(lines: Buffer, from: number): boolean {
    for (let place = 0; place < AT.length; place++) {
      if (lines[from + place] !== AT.charCodeAt(place)) return false
    }
    const { length } = lines
    let place = from + AT.length
    let digit = lines[place]! - ZERO
    let atMs = 0
    while (digit >= 0 && digit <= 9) {
      atMs = atMs * 10 + digit
      digit = lines[++place]! - ZERO
    }
    if (!isNumber(lines, from + AT.length, place)) return false
    this.#atMs = atMs
    this.#atEnd = place
    let sizeStart = 0
    let hash = 0
    while (place < length) {
      const byte = lines[place]!
      if (byte === LINE_FEED) break
      hash = Math.imul(hash ^ byte, 0x01000193)
      place++
      if (byte !== LETTER_Z || sizeStart > 0 || !isSizeKey(lines, place - 1 - SIZE_Z)) continue
      place += SIZE.length - SIZE_Z - 1
      sizeStart = place
      digit = lines[place]! - ZERO
      let size = 0
      while (digit >= 0 && digit <= 9) {
        size = size * 10 + digit
        digit = lines[++place]! - ZERO
      }
      if (!isNumber(lines, sizeStart, place)) return false
      this.#size = size
      this.#sizeStart = sizeStart
      this.#sizeEnd = place
    }
    this.#hash = hash
    this.#end = place
    if (sizeStart === 0) {
      this.#sizeStart = place
      this.#sizeEnd = place
    }
    return true
  }

  /** Returns true if the line that was split is a known one. */
  #equals(known: Uint8Array, lines: Buffer): boolean {
    const sizeStart = this.#sizeStart
    const end = this.#end
    if (known.length !== sizeStart - this.#atEnd + (end - this.#sizeEnd)) return false
    let index = 0
    for (let place = this.#atEnd; place < sizeStart; place++) {
      if (known[index++] !== lines[place]) return false
    }
    for (let place = this.#sizeEnd; place < end; place++) {
      if (known[index++] !== lines[place]) return false
    }
    return true
  }
}

function isSizeKey(lines: Buffer, from: number): boolean {
  for (let place = 0; place < SIZE.length; place++) {
    if (lines[from + place] !== SIZE.charCodeAt(place)) return false
  }
  return true
}

/** Returns true for digits that are a number in JSON, which has no zeros before it. */
function isNumber(lines: Buffer, from: number, end: number): boolean {
  const digits = end - from
  return digits === 1 || (digits > 1 && digits <= MAX_DIGITS && lines[from] !== ZERO)
}
