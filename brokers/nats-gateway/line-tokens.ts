export const LINE_FEED = 10
export const CARRIAGE_RETURN = 13

/** Most tokens of a line: `HMSG subject sid reply size size`. */
const MAX_TOKENS = 6

/** Returns true for the bytes that separate tokens. */
export function isBlank(byte: number): boolean {
  return byte === 32 || byte === 9
}

/** Tokens of a control line, the first of which is the operation. One object per connection, filled anew for each line. */
export class LineTokens {
  /** Number of tokens; one more than the maximum if there are too many. */
  count = 0
  readonly #starts = new Int32Array(MAX_TOKENS + 1)
  readonly #ends = new Int32Array(MAX_TOKENS + 1)

  /** Splits the line from `start` to `body`, behind its line feed. */
  read(bytes: Buffer, start: number, body: number): void {
    let count = 0
    let tokenStart = -1
    for (let at = start; at < body; at++) {
      const byte = bytes[at]!
      if (byte !== 32 && byte !== 9 && byte !== CARRIAGE_RETURN && byte !== LINE_FEED) {
        if (tokenStart < 0) tokenStart = at
        continue
      }
      if (tokenStart < 0) continue
      this.#starts[count] = tokenStart
      this.#ends[count] = at
      tokenStart = -1
      if (++count > MAX_TOKENS) break
    }
    this.count = count
  }

  startOf(index: number): number {
    return this.#starts[index]!
  }

  endOf(index: number): number {
    return this.#ends[index]!
  }

  textOf(bytes: Buffer, index: number): string {
    return bytes.toString('utf8', this.#starts[index], this.#ends[index])
  }

  /** Returns the token as a whole number; -1 if it is none. */
  numberOf(bytes: Buffer, index: number): number {
    const text = bytes.toString('latin1', this.#starts[index], this.#ends[index])
    return /^\d{1,9}$/.test(text) ? Number(text) : -1
  }
}
