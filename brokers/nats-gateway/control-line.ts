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

const SPACE = 32
const ZERO = 48

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
  readonly maxLineBytes: number

  constructor(maxLineBytes: number) {
    this.maxLineBytes = maxLineBytes
  }

  read(bytes: Buffer, start: number): HeaderResult {
    this.isPlainPub = this.#readPlainPub(bytes, start)
    return this.isPlainPub ? READ : this.#readAny(bytes, start)
  }

  /** Reads the most frequent line in one pass. Returns false if it is another one, or incomplete. */
  #readPlainPub(bytes: Buffer, start: number): boolean {
    const limit = Math.min(bytes.length, start + this.maxLineBytes) - 1
    let at = start + PUB_BYTES
    if (at >= limit) return false
    if (
      bytes[start] !== 80 ||
      bytes[start + 1] !== 85 ||
      bytes[start + 2] !== 66 ||
      bytes[start + 3] !== SPACE
    )
      return false
    while (at < limit && bytes[at]! > SPACE) at++
    const subjectEnd = at
    if (bytes[at] !== SPACE || subjectEnd === start + PUB_BYTES) return false
    if (++at >= limit) return false
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
