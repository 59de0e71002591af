import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
/** Kind, key of 32 bytes, and checksum of 2 bytes. */
const KEY_BYTES = 35
/** Two bytes of kinds, seed of 32 bytes, and checksum of 2 bytes. */
const SEED_BYTES = 36
/** Characters of a seed, the longer of both. */
const MAX_CHARS = 58
/** Kind of users: their keys begin with U. */
const USER_KIND = 20 << 3
/** Kind of seeds, which begin with S, in the upper bits of the first byte. */
const SEED_KIND = 18 << 3
/** Headers of Ed25519 keys in DER (RFC 8410). */
const PUBLIC_DER_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const PRIVATE_DER_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

/**
 * Returns true if the signature (base64url) of the nonce was made with the key of a user, such as `UA…`. The checksum of the
 * key is left to the signature.
 */
export function isSignedBy(userKey: string, nonce: string, signature: string): boolean {
  const decoded = decodeBase32(userKey)
  if (decoded?.length !== KEY_BYTES || decoded[0] !== USER_KIND) return false
  try {
    const der = Buffer.concat([PUBLIC_DER_PREFIX, decoded.subarray(1, 33)])
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
    return verify(null, Buffer.from(nonce), key, Buffer.from(signature, 'base64url'))
  } catch {
    return false
  }
}

/** Returns the private key of a seed, such as `SU…`; undefined if it is not one. */
export function readSeed(seed: string): KeyObject | undefined {
  const decoded = decodeBase32(seed)
  if (decoded?.length !== SEED_BYTES || (decoded[0]! & 0xf8) !== SEED_KIND) return undefined
  const der = Buffer.concat([PRIVATE_DER_PREFIX, decoded.subarray(2, 34)])
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
}

/** Returns the signature of a nonce, in base64url. */
export function signNonce(key: KeyObject, nonce: string): string {
  return sign(null, Buffer.from(nonce), key).toString('base64url')
}

/** Decodes base32 without padding. Bits that fill no byte are left out. Returns undefined for other characters. */
function decodeBase32(text: string): Buffer | undefined {
  if (text.length > MAX_CHARS) return undefined
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
