import { type FieldPath, readField } from './field-path.ts'
import { isJson, NEEDS_FULL_PARSE, NOT_JSON, parseJson, readJsonField } from './json-scanner.ts'
import { MAX_SIZES } from './max-sizes.ts'

type Payload = string | Uint8Array | undefined

const NOT_PARSED: unique symbol = Symbol('not parsed')

/** Parses a payload as JSON. Returns undefined if it is empty, not JSON, or exceeds the bound. Never throws. */
export function parsePayload(payload: Payload, sizeBytes: number): unknown {
  const bytes = readableBytes(payload, sizeBytes)
  // Why the check: an error of JSON.parse costs more than parsing a small payload.
  return bytes !== undefined && isJson(bytes) ? parseJson(bytes) : undefined
}

/**
 * JSON payload of one message, read on use. The first field is read without parsing the rest. For another field, the
 * payload is parsed, once. Keeps no bytes, because a held message replaces them by a copy.
 */
export class PayloadReader {
  #parsed: unknown = NOT_PARSED
  /** Path of the first field, once it is read. */
  #path: FieldPath | undefined
  #field: unknown

  /** Returns the parsed payload as {@link parsePayload} does. */
  parse(payload: Payload, sizeBytes: number): unknown {
    if (this.#parsed !== NOT_PARSED) return this.#parsed
    const bytes = readableBytes(payload, sizeBytes)
    const isChecked = this.#path !== undefined
    this.#parsed = bytes !== undefined && (isChecked || isJson(bytes)) ? parseJson(bytes) : undefined
    return this.#parsed
  }

  /** Returns a field of the parsed payload; undefined if it is absent. Never throws. */
  readField(payload: Payload, sizeBytes: number, path: FieldPath): unknown {
    if (this.#path === undefined && this.#parsed === NOT_PARSED) {
      const bytes = readableBytes(payload, sizeBytes)
      const field = bytes === undefined ? NOT_JSON : readJsonField(bytes, path)
      if (field === NOT_JSON) this.#parsed = undefined
      else if (field !== NEEDS_FULL_PARSE) {
        this.#path = path
        this.#field = field
      }
    }
    if (this.#path !== undefined && isSamePath(this.#path, path)) return this.#field
    return readField(this.parse(payload, sizeBytes), path)
  }
}

/** Returns the bytes to parse; undefined if there are none or too many. */
function readableBytes(payload: Payload, sizeBytes: number): Uint8Array | undefined {
  if (payload === undefined || sizeBytes === 0 || sizeBytes > MAX_SIZES.parsedPayloadBytes) return undefined
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  // A recorded size may be wrong.
  return bytes.length > MAX_SIZES.parsedPayloadBytes ? undefined : bytes
}

function isSamePath(a: FieldPath, b: FieldPath): boolean {
  return a === b || (a.length === b.length && a.every((step, index) => step === b[index]))
}
