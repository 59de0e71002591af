import { createPublicKey, verify } from 'node:crypto'

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
/** Kind, key of 32 bytes, and checksum of 2 bytes. */
const DECODED_BYTES = 35
/** Kind of users: their keys begin with U. */
const USER_KIND = 20 << 3
/** Header of an Ed25519 public key in DER (RFC 8410). */
const DER_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

/**
 * Returns true if the signature (base64url) of the nonce was made with the key of a user, such as `UA…`. The checksum of the
 * key is left to the signature.
 */
export function isSignedBy(userKey: string, nonce: string, signature: string): boolean {
  const decoded = decodeBase32(userKey)
  if (decoded?.length !== DECODED_BYTES || decoded[0] !== USER_KIND) return false
  try {
    const der = Buffer.concat([DER_PREFIX, decoded.subarray(1, 33)])
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
    return verify(null, Buffer.from(nonce), key, Buffer.from(signature, 'base64url'))
  } catch {
    return false
  }
}

function decodeBase32(text: string): Buffer | undefined {
  if (text.length !== (DECODED_BYTES * 8) / 5) return undefined
  const bytes: number[] = []
  let bits = 0
  let value = 0
  for (const character of text) {
    const digit = BASE32.indexOf(character)
    if (digit < 0) return undefined
    value = ((value << 5) | digit) & 0xfff
    bits += 5
    if (bits < 8) continue
    bits -= 8
    bytes.push((value >> bits) & 0xff)
  }
  return Buffer.from(bytes)
}
