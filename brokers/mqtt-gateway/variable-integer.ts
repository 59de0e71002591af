/** Bytes of the longest variable byte integer [MQTT-1.5.5]. */
export const MAX_VARIABLE_BYTES = 4

export interface VariableInteger {
  readonly value: number
  readonly end: number
}

/** Reads a variable byte integer. Returns undefined if it is longer than four bytes or ends behind `limit`. */
export function readVariableInteger(
  bytes: Buffer,
  start: number,
  limit: number,
): VariableInteger | undefined {
  let value = 0
  for (let at = start, shift = 0; at < limit && shift < 28; at++, shift += 7) {
    const byte = bytes[at]!
    value += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) return { value, end: at + 1 }
  }
  return undefined
}

/** Returns the number of bytes that a variable byte integer takes. */
export function sizeOfVariableInteger(value: number): 1 | 2 | 3 | 4 {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4
}

/** Writes a variable byte integer. Returns its end. */
export function writeVariableInteger(bytes: Buffer, value: number, start: number): number {
  let rest = value
  let at = start
  do {
    const byte = rest & 0x7f
    rest >>>= 7
    bytes[at++] = rest > 0 ? byte | 0x80 : byte
  } while (rest > 0)
  return at
}
