import { createHmac, randomBytes } from 'node:crypto'
import { FairQueue } from '../core/fair-queue.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { PasswordEntries } from './password-file.ts'
import { matchesHash, type PasswordHash } from './password-hash.ts'

/** Result of a check. `busy`: too many checks are waiting. */
export type PasswordResult = 'correct' | 'wrong' | 'busy'

export interface PasswordAttempt {
  readonly user: string
  readonly password: Buffer
  /** Address of the client; addresses take turns. */
  readonly address: string
  /** Returns true if the client has left, so that its password need not be hashed. */
  readonly isCancelled: () => boolean
}

/**
 * Checks passwords against a password file. Passwords are hashed by threads of libuv, a few at the same time. Recent
 * results are remembered as keyed digests, so that clients that reconnect cost no hash. An unknown user costs as much
 * as a known one.
 */
export class PasswordChecker {
  readonly #secret = randomBytes(32)
  readonly #queue = new FairQueue({
    concurrent: MAX_SIZES.concurrentPasswordHashes,
    maxPerKey: MAX_SIZES.waitingPasswordsPerAddress,
    maxTotal: MAX_SIZES.waitingPasswords,
  })
  /** Digest of the last correct password, by user. */
  readonly #correct = new Map<string, string>()
  /** Digests of wrong attempts, oldest first. */
  readonly #knownWrong = new Set<string>()
  #entries: PasswordEntries = new Map()
  /** Hashes that stand in for those of unknown users. */
  #dummyHashes: readonly PasswordHash[] = []

  /** Passwords hashed since the start. */
  hashed = 0

  constructor(entries: PasswordEntries) {
    this.replace(entries)
  }

  /** Checks against other entries from now on. */
  replace(entries: PasswordEntries): void {
    this.#entries = entries
    this.#dummyHashes = [...entries.values()]
    this.#knownWrong.clear()
    for (const user of this.#correct.keys()) if (!entries.has(user)) this.#correct.delete(user)
  }

  /** Returns the hash of a user, to notice a change; undefined for an unknown user. */
  hashOf(user: string): string | undefined {
    return this.#entries.get(user)?.text
  }

  async check({ user, password, address, isCancelled }: PasswordAttempt): Promise<PasswordResult> {
    if (password.length > MAX_SIZES.passwordBytes) return 'wrong'
    const expected = this.#entries.get(user)
    const hashed = expected ?? this.#dummyHashFor(user)
    // A file without users has no hashes, and no user to find out.
    if (hashed === undefined) return 'wrong'
    const digest = this.#digest(user, hashed.text, password)
    if (this.#correct.get(user) === digest) return 'correct'
    if (this.#knownWrong.delete(digest)) {
      this.#knownWrong.add(digest)
      return 'wrong'
    }
    const isMatch = await this.#queue.run(address, isCancelled, () => {
      this.hashed++
      return matchesHash(password, hashed)
    })
    if (isMatch === undefined) return 'busy'
    // The file may have changed meanwhile.
    if (isMatch && expected !== undefined && this.hashOf(user) === expected.text) {
      this.#correct.set(user, digest)
      return 'correct'
    }
    if (!isMatch || expected === undefined) this.#rememberWrong(digest)
    return 'wrong'
  }

  /** Picks the same entry for each attempt of a name, so that costs are distributed like those of known users. */
  #dummyHashFor(user: string): PasswordHash | undefined {
    const number = createHmac('sha256', this.#secret).update(user).digest().readUInt32BE()
    return this.#dummyHashes[number % this.#dummyHashes.length]
  }

  #digest(user: string, hash: string, password: Buffer): string {
    return createHmac('sha256', this.#secret)
      .update(`${user.length}:${user}${hash}:`)
      .update(password)
      .digest('base64')
  }

  #rememberWrong(digest: string): void {
    this.#knownWrong.add(digest)
    if (this.#knownWrong.size <= MAX_SIZES.rememberedWrongPasswords) return
    for (const oldest of this.#knownWrong) {
      this.#knownWrong.delete(oldest)
      return
    }
  }
}
