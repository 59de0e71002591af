import { randomBytes } from 'node:crypto'

const secret = randomBytes(8)
const KEY_0 = secret.readInt32LE(0)
const KEY_1 = secret.readInt32LE(4)

/**
 * Returns HalfSipHash-1-3 of a string's UTF-16 code units, two to a word, under a secret of this process. Why:
 * clients choose the keys, and without the secret they could choose colliding ones. Source: Aumasson and Bernstein,
 * https://github.com/veorq/SipHash. Takes about 60 ns for 20 characters, once per sender and rule, not per message.
 */
export function hashKeyForTable(key: string): number {
  let v0 = KEY_0
  let v1 = KEY_1
  let v2 = 0x6c796765 ^ KEY_0
  let v3 = 0x74656462 ^ KEY_1
  const length = key.length
  const words = length >> 1
  // The last word holds the length and, for an odd length, the last unit; three empty words end the hash.
  for (let index = 0; index <= words + 3; index++) {
    let word = 0
    if (index < words) {
      word = key.charCodeAt(2 * index) | (key.charCodeAt(2 * index + 1) << 16)
    } else if (index === words) {
      word = (length << 16) | (length & 1 ? key.charCodeAt(length - 1) : 0)
    } else if (index === words + 1) {
      v2 ^= 0xff
    }
    v3 ^= word
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    v0 ^= word
  }
  return v1 ^ v3
}
