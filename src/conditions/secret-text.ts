/** Names of headers whose values are probably secrets. */
const SECRET_HEADER =
  /auth(?!or(?!i))|token|secret|passw|(?:api|access|private)[-_]?key|^(?:x[-_])?key$|cookie|bypass|credential|signature/i

/** Returns true if the name of a header suggests that its value is a secret. */
export function isSecretHeader(name: string): boolean {
  return SECRET_HEADER.test(name)
}

/**
 * Text that is compared in constant time: the time depends on the length of the compared value alone, not on the
 * secret, its length or a common prefix. Compares UTF-16 code units, because UTF-8 encodes all lone surrogates alike.
 */
export class SecretText {
  readonly #length: number
  /** Code units, padded with zeros to a power of two, so that every index of a longer value has one. */
  readonly #units: readonly number[]

  constructor(text: string) {
    this.#length = text.length
    const padded = 2 ** Math.ceil(Math.log2(text.length + 1))
    // Why no typed array: its elements take a third longer to read here.
    this.#units = Array.from({ length: padded }, (_, index) =>
      index < text.length ? text.charCodeAt(index) : 0,
    )
  }

  equals(value: string): boolean {
    const units = this.#units
    const mask = units.length - 1
    const { length } = value
    let difference = length ^ this.#length
    for (let index = 0; index < length; index++) {
      difference |= value.charCodeAt(index) ^ units[index & mask]!
    }
    return difference === 0
  }
}
