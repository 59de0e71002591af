import {
  type HeaderResult,
  MALFORMED,
  NEEDS_LINE_END,
  type PacketHeader,
  READ,
  TOO_LARGE,
} from '../../src/gateway/packet-walker.ts'
import { CARRIAGE_RETURN, isBlank, LINE_FEED } from './line-tokens.ts'
import { canStartLine, hasPayload, OPERATION, type Operation, readOperation } from './operations.ts'
import { LINE_END_BYTES } from './publish-message.ts'

/** Most digits of a size, as in nats-server. */
const MAX_SIZE_DIGITS = 9

/** Bytes of `PUB `. */
export const PUB_BYTES = 4

/** Longest `PUB subject ` that is remembered, and the first size of its buffer. */
const MAX_REMEMBERED_BYTES = 260
const FIRST_REMEMBERED_BYTES = 64
const WORD_BYTES = 4

const SPACE = 32
const ZERO = 48

const NO_BYTES = Buffer.alloc(0)
const NO_VIEW = createView(NO_BYTES)

/**
 * Reads control lines, such as `PUB subject reply 5`, with the size of the payload that follows. Accepts only what
 * nats-server reads in the same way. Why: otherwise the gateway and the server would see different messages.
 */
export class ControlLine implements PacketHeader {
  body = 0
  end = 0
  operation: Operation = OPERATION.unknown
  /**
   * True if the line is a PUB without reply as clients write it: `PUB subject 5`, with single spaces. Then the subject ends
   * at `subjectEnd`, and begins behind `PUB `.
   */
  isPlainPub = false
  subjectEnd = 0
  /** True if the subject of a plain PUB is the one that was remembered last. */
  isSameSubject = false
  readonly maxLineBytes: number
  /** `PUB subject ` of the remembered line, compared in words of four bytes. */
  #prefixBuffer: Buffer = NO_BYTES
  #prefix = NO_VIEW
  #prefixBytes = 0

  constructor(maxLineBytes: number) {
    this.maxLineBytes = maxLineBytes
  }

  read(bytes: Buffer, start: number): HeaderResult {
    this.isPlainPub = this.#readPlainPub(bytes, start)
    if (this.isPlainPub) return READ
    this.isSameSubject = false
    return this.#readAny(bytes, start)
  }

  /** Remembers the subject of the plain PUB that was read at `start`. Later lines are compared with it. */
  rememberSubject(bytes: Buffer, start: number): void {
    const prefixBytes = this.subjectEnd + 1 - start
    if (prefixBytes > MAX_REMEMBERED_BYTES) {
      this.forgetSubject()
      return
    }
    if (this.#prefixBuffer.length < prefixBytes) {
      this.#prefixBuffer = Buffer.allocUnsafeSlow(Math.max(FIRST_REMEMBERED_BYTES, prefixBytes))
      this.#prefix = createView(this.#prefixBuffer)
    }
    bytes.copy(this.#prefixBuffer, 0, start, start + prefixBytes)
    this.#prefixBytes = prefixBytes
  }

  forgetSubject(): void {
    this.#prefixBytes = 0
  }

  /** Reads the most frequent line in one pass. Returns false if it is another one, or incomplete. */
  #readPlainPub(bytes: Buffer, start: number): boolean {
    const limit = Math.min(bytes.length, start + this.maxLineBytes) - 1
    this.isSameSubject =
      this.#prefixBytes > 0 && start + this.#prefixBytes < limit && this.#hasPrefix(bytes, start)
    const subjectEnd = this.isSameSubject
      ? start + this.#prefixBytes - 1
      : findSubjectEnd(bytes, start, limit)
    let at = subjectEnd + 1
    if (subjectEnd < 0 || at >= limit) return false
    let size = 0
    let digit = bytes[at]! - ZERO
    const digitsStart = at
    while (at < limit && digit >= 0 && digit <= 9) {
      size = size * 10 + digit
      digit = bytes[++at]! - ZERO
    }
    const digits = at - digitsStart
    if (digits === 0 || digits > MAX_SIZE_DIGITS || at >= limit) return false
    if (bytes[at] !== CARRIAGE_RETURN || bytes[at + 1] !== LINE_FEED) return false
    this.operation = OPERATION.pub
    this.subjectEnd = subjectEnd
    this.body = at + 2
    this.end = this.body + size + LINE_END_BYTES
    return true
  }

  #hasPrefix(bytes: Buffer, start: number): boolean {
    const prefix = this.#prefix
    const last = this.#prefixBytes - WORD_BYTES
    const view = viewOf(bytes)
    for (let at = 0; at < last; at += WORD_BYTES)
      if (view.getUint32(start + at) !== prefix.getUint32(at)) return false
    // Overlaps the word before.
    return view.getUint32(start + last) === prefix.getUint32(last)
  }

  #readAny(bytes: Buffer, start: number): HeaderResult {
    const { length } = bytes
    const limit = Math.min(length, start + this.maxLineBytes)
    let at = start
    for (; at < limit; at++) {
      const byte = bytes[at]!
      if (byte > CARRIAGE_RETURN) continue
      if (byte === LINE_FEED) break
      if (byte === CARRIAGE_RETURN && at + 1 < length && bytes[at + 1] !== LINE_FEED) return MALFORMED
    }
    if (at === limit) {
      if (!canStartLine(bytes[start]!)) return MALFORMED
      return at - start >= this.maxLineBytes ? TOO_LARGE : NEEDS_LINE_END
    }
    const operation = readOperation(bytes, start)
    if (operation === OPERATION.unknown) return MALFORMED
    this.operation = operation
    this.body = at + 1
    this.end = at + 1
    if (!hasPayload(operation)) return READ
    const sizeBytes = readSize(bytes, start, at)
    if (sizeBytes < 0) return MALFORMED
    this.end += sizeBytes + LINE_END_BYTES
    return READ
  }
}

/** Finds the end of the subject of a PUB with single spaces. Returns -1 if the line is another one. */
function findSubjectEnd(bytes: Buffer, start: number, limit: number): number {
  const subjectStart = start + PUB_BYTES
  if (subjectStart >= limit) return -1
  if (bytes[start] !== 80 || bytes[start + 1] !== 85 || bytes[start + 2] !== 66 || bytes[start + 3] !== SPACE)
    return -1
  let at = subjectStart
  while (at < limit && bytes[at]! > SPACE) at++
  return bytes[at] === SPACE && at > subjectStart ? at : -1
}

let viewedChunk: Buffer = NO_BYTES
let chunkView = NO_VIEW

/** Returns a view of the chunk that is being read. The last one is kept, for all connections together. */
function viewOf(chunk: Buffer): DataView {
  if (chunk !== viewedChunk) {
    viewedChunk = chunk
    chunkView = createView(chunk)
  }
  return chunkView
}

function createView(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** Reads the size at the end of a line. Returns -1 if it is not a number. */
function readSize(bytes: Buffer, start: number, lineEnd: number): number {
  let at = lineEnd - 1
  while (at > start && (bytes[at] === CARRIAGE_RETURN || isBlank(bytes[at]!))) at--
  const last = at
  let size = 0
  for (let factor = 1; at > start; at--, factor *= 10) {
    const digit = bytes[at]! - 48
    if (digit < 0 || digit > 9) break
    size += digit * factor
  }
  const digits = last - at
  return digits > 0 && digits <= MAX_SIZE_DIGITS && isBlank(bytes[at]!) ? size : -1
}
