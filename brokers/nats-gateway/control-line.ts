import {
  type HeaderResult,
  MALFORMED,
  NEEDS_LINE_END,
  type PacketHeader,
  READ,
  TOO_LARGE,
} from '../../src/gateway/packet-walker.ts'
import { CARRIAGE_RETURN, isBlank, LINE_FEED } from './line-tokens.ts'
import { canStartLine, hasPayload, OPERATION, readOperation } from './operations.ts'
import { LINE_END_BYTES } from './publish-message.ts'

/** Most digits of a size, as in nats-server. */
const MAX_SIZE_DIGITS = 9

/**
 * Reads control lines, such as `PUB subject reply 5`, with the size of the payload that follows. Accepts only what
 * nats-server reads in the same way. Why: otherwise the gateway and the server would see different messages.
 */
export class ControlLine implements PacketHeader {
  body = 0
  end = 0
  readonly maxLineBytes: number

  constructor(maxLineBytes: number) {
    this.maxLineBytes = maxLineBytes
  }

  read(bytes: Buffer, start: number): HeaderResult {
    const { length } = bytes
    const limit = Math.min(length, start + this.maxLineBytes)
    let at = start
    for (; at < limit; at++) {
      const byte = bytes[at]!
      if (byte === LINE_FEED) break
      if (byte === CARRIAGE_RETURN && at + 1 < length && bytes[at + 1] !== LINE_FEED) return MALFORMED
    }
    if (at === limit) {
      if (!canStartLine(bytes[start]!)) return MALFORMED
      return at - start >= this.maxLineBytes ? TOO_LARGE : NEEDS_LINE_END
    }
    const operation = readOperation(bytes, start)
    if (operation === OPERATION.unknown) return MALFORMED
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
