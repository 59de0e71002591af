import { type HeaderResult, MALFORMED, type PacketHeader, READ } from '../../src/gateway/packet-walker.ts'
import { MAX_VARIABLE_BYTES } from './variable-integer.ts'

/** Reads fixed headers: the type with its flags, and the remaining length. */
class FixedHeader implements PacketHeader {
  body = 0
  end = 0
  readonly maxLineBytes = 0

  read(bytes: Buffer, start: number): HeaderResult {
    const { length } = bytes
    let body = start + 1
    let remaining = 0
    let byte = 0x80
    for (let shift = 0; byte >= 0x80 && body < length && shift < 28; shift += 7) {
      byte = bytes[body++]!
      remaining += (byte & 0x7f) << shift
    }
    if (byte >= 0x80) return body - start > MAX_VARIABLE_BYTES ? MALFORMED : body - start + 1
    this.body = body
    this.end = body + remaining
    return READ
  }
}

/** The fixed header of MQTT. Shared, because it is read only until the next header. */
export const FIXED_HEADER: PacketHeader = new FixedHeader()
