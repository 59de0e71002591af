import { readFile } from 'node:fs/promises'
import { PolicyError, type Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { writePrivateFile } from '../core/write-private-file.ts'
import { type PasswordHash, parsePasswordHash } from './password-hash.ts'
import { readConfigFile } from './read-config-file.ts'

/** Users of a password file and the hashes of their passwords. */
export type PasswordEntries = ReadonlyMap<string, PasswordHash>

/** Reads a password file. Throws PolicyError with the line of each problem. */
export async function readPasswordFile(path: string): Promise<PasswordEntries> {
  return parsePasswordFile(await readConfigFile(path, `create it: topicgate passwd ${path} USER`), path)
}

/**
 * Parses a password file of mosquitto: `user:hash` on each line; lines that begin with # are comments. Throws
 * PolicyError with the line of each problem. Errors never contain a hash, which may be a plain password.
 */
export function parsePasswordFile(text: string, path: string): PasswordEntries {
  const entries = new Map<string, PasswordHash>()
  const problems: Problem[] = []
  for (const [index, line] of linesOf(text).entries()) {
    if (line === '' || line.startsWith('#')) continue
    const refuse = (message: string, remedy: string): void => {
      if (problems.length < MAX_SIZES.policyProblems)
        problems.push({ file: path, line: index + 1, message, remedy })
    }
    const end = line.indexOf(':')
    const user = line.slice(0, end)
    if (end < 1) {
      refuse('this is not a user and a hash', 'write user:$7$iterations$salt$hash, or use topicgate passwd')
      continue
    }
    const hash = parsePasswordHash(line.slice(end + 1))
    if (hash === undefined) {
      refuse(
        `the password of ${JSON.stringify(user)} is not a hash of mosquitto_passwd ($7$ or $6$)`,
        `topicgate passwd ${path} ${user}`,
      )
    } else if (entries.has(user)) refuse(`${JSON.stringify(user)} has a password already`, 'remove one line')
    else entries.set(user, hash)
  }
  if (problems.length > 0) throw new PolicyError(problems)
  return entries
}

/** Returns the problem of a user name in a password file; undefined if it has none. */
export function findUserProblem(user: string): string | undefined {
  if (user === '') return 'a user needs a name'
  if (Buffer.byteLength(user) > MAX_SIZES.topicBytes) return 'the name is too long for MQTT'
  if (/[:\p{Cc}]/u.test(user)) return 'a user has no colon and no control characters in the name'
  if (user.startsWith('#')) return 'a name that begins with # would be a comment'
  return undefined
}

/**
 * Adds a user to a password file, or replaces the hash. An undefined hash removes the user. Other lines stay as they
 * are. Creates the file if there is none. Returns false if there was no such user.
 */
export async function updatePasswordFile(
  path: string,
  user: string,
  hash: string | undefined,
): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' && hash !== undefined) return ''
    throw error
  })
  const lines = linesOf(text)
  if (lines.at(-1) === '') lines.pop()
  const at = lines.findIndex(line => line.startsWith(`${user}:`))
  if (hash === undefined) {
    if (at < 0) return false
    lines.splice(at, 1)
  } else if (at < 0) lines.push(`${user}:${hash}`)
  else lines[at] = `${user}:${hash}`
  await writePrivateFile(path, lines.map(line => `${line}\n`).join(''))
  return at >= 0
}

function linesOf(text: string): string[] {
  return text.split(/\r?\n/)
}
