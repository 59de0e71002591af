import { MAX_SIZES } from './max-sizes.ts'

/** Parses a payload as JSON. Returns undefined if it is empty, not JSON, or exceeds the bound. Never throws. */
export function parsePayload(payload: string | Uint8Array | undefined, sizeBytes: number): unknown {
  if (payload === undefined || sizeBytes === 0 || sizeBytes > MAX_SIZES.parsedPayloadBytes) return undefined
  try {
    return JSON.parse(typeof payload === 'string' ? payload : decode(payload))
  } catch {
    return undefined
  }
}

function decode(bytes: Uint8Array): string {
  const buffer =
    bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return buffer.toString()
}
