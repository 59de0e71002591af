import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { policyError } from '../../core/errors.ts'
import { type Caller, isRole, ROLES, type Role } from './roles.ts'

/** A token without its secret. */
export interface TokenEntry {
  readonly name: string
  readonly role: Role
  /** SHA-256 of the whole token, in hexadecimal. */
  readonly hash: string
  readonly expiresAtMs?: number | undefined
}

const SECRET_BYTES = 32
const NAME = /^[a-z0-9][a-z0-9.-]{0,31}$/
const TOKEN = /^tg_([a-z0-9][a-z0-9.-]{0,31})_([\w-]{43})$/
const HASH = /^[0-9a-f]{64}$/

/** Compared with for a name that has no token, so that the answer takes as long. */
const NO_HASH = '0'.repeat(64)

/** Creates a token `tg_NAME_SECRET` with 256 random bits, and the entry to keep. Throws PolicyError. */
export function createToken(
  name: string,
  role: Role,
  expiresAtMs?: number,
): { readonly token: string; readonly entry: TokenEntry } {
  if (!NAME.test(name)) {
    const remedy = 'use 1 to 32 lower-case letters, digits, dots and hyphens'
    throw policyError('name', `${JSON.stringify(name.slice(0, 60))} is not a name of a token`, remedy)
  }
  const token = `tg_${name}_${randomBytes(SECRET_BYTES).toString('base64url')}`
  return { token, entry: { name, role, hash: hashToken(token), expiresAtMs } }
}

/**
 * Parses a token file: a line `name role sha256 [expires]` for each token, where `expires` is an ISO date. Empty lines
 * and lines that begin with # are skipped. Throws PolicyError with the line.
 */
export function parseTokens(text: string, file: string): readonly TokenEntry[] {
  const entries: TokenEntry[] = []
  for (const [index, line] of text.split('\n').entries()) {
    const words = line.trim().split(/\s+/)
    if (words[0] === '' || words[0]!.startsWith('#')) continue
    const entry = parseLine(words)
    const isRepeated = entry !== undefined && entries.some(({ name }) => name === entry.name)
    if (entry === undefined || isRepeated) {
      const path = `${file}:${index + 1}`
      const message = isRepeated ? `"${entry.name}" has two tokens` : 'this is not a token'
      throw policyError(path, message, `write: name ${ROLES.join('|')} sha256 [expires]`)
    }
    entries.push(entry)
  }
  return entries
}

function parseLine([name, role, hash, expires, ...rest]: readonly string[]): TokenEntry | undefined {
  const expiresAtMs = expires === undefined ? undefined : Date.parse(expires)
  const isValid = NAME.test(name ?? '') && isRole(role) && HASH.test(hash ?? '') && rest.length === 0
  if (!isValid || Number.isNaN(expiresAtMs)) return undefined
  return { name: name!, role, hash: hash!, expiresAtMs }
}

/** Returns the text of a token file. */
export function formatTokenFile(entries: readonly TokenEntry[]): string {
  const head = '# name role sha256 [expires]; created by: topicgate token create\n'
  const lines = entries.map(({ name, role, hash, expiresAtMs }) => {
    const expires = expiresAtMs === undefined ? '' : ` ${new Date(expiresAtMs).toISOString()}`
    return `${name} ${role} ${hash}${expires}\n`
  })
  return head + lines.join('')
}

/** Returns the caller that a token belongs to; undefined for a wrong or expired one. Compares in constant time. */
export function findCaller(entries: readonly TokenEntry[], token: string, nowMs: number): Caller | undefined {
  const name = TOKEN.exec(token)?.[1]
  const entry = entries.find(each => each.name === name)
  const isEqual = timingSafeEqual(
    Buffer.from(hashToken(token), 'hex'),
    Buffer.from(entry?.hash ?? NO_HASH, 'hex'),
  )
  if (entry === undefined || !isEqual || (entry.expiresAtMs ?? Infinity) <= nowMs) return undefined
  return { name: entry.name, role: entry.role }
}

function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}
