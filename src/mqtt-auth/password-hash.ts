import { createHash, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

/** Hash of a password, as mosquitto_passwd writes it. Salt and hash are Base64. */
export interface PasswordHash {
  /** The whole text, such as `$7$101$salt$hash`. */
  readonly text: string
  /** Rounds of PBKDF2; undefined for a single SHA-512 (`$6$`). */
  readonly iterations: number | undefined
  readonly salt: string
  readonly hash: string
}

export const DEFAULT_ITERATIONS = 100_000
export const MAX_ITERATIONS = 10_000_000

const HASH_BYTES = 64
const SALT_BYTES = 12
const FORMAT = /^\$(?:7\$([1-9]\d{0,7})|6)\$([A-Za-z0-9+/]{4,}={0,2})\$([A-Za-z0-9+/]{86}==)$/

const derivePbkdf2 = promisify(pbkdf2)

/** Parses `$7$iterations$salt$hash` (PBKDF2 with SHA-512) or `$6$salt$hash` (SHA-512); undefined for other text. */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  const [, rounds, salt, hash] = FORMAT.exec(text) ?? []
  if (salt === undefined || hash === undefined) return undefined
  const iterations = rounds === undefined ? undefined : Number(rounds)
  if (iterations !== undefined && iterations > MAX_ITERATIONS) return undefined
  return { text, iterations, salt, hash }
}

/** Hashes a password with a new salt. Returns `$7$iterations$salt$hash`. */
export async function hashPassword(password: string, iterations: number): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const hash = await derivePbkdf2(password, salt, iterations, HASH_BYTES, 'sha512')
  return `$7$${iterations}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/** Returns true if a password has this hash. Uses a thread of libuv, and compares in constant time. */
export async function matchesHash(password: Buffer, expected: PasswordHash): Promise<boolean> {
  const salt = Buffer.from(expected.salt, 'base64')
  const hash =
    expected.iterations === undefined
      ? createHash('sha512').update(password).update(salt).digest()
      : await derivePbkdf2(password, salt, expected.iterations, HASH_BYTES, 'sha512')
  return timingSafeEqual(hash, Buffer.from(expected.hash, 'base64'))
}
