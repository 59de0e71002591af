import { MAX_SIZES } from '../core/max-sizes.ts'
import { matches } from '../topic/pattern.ts'
import type { Access, Acl, AclEntry } from './acl-file.ts'

const READ = 1
const WRITE = 2
const BITS: Readonly<Record<Access, number>> = { read: READ, write: WRITE, readwrite: READ | WRITE, deny: 0 }

/** A name that would widen a pattern, or place a client below the topics of another. */
const UNSAFE_NAME = /[+#/]|^\$/

/**
 * Rights of one client by an ACL. As in mosquitto, the lines of the user decide first and then the patterns; in each of
 * the two a `deny` wins. What no line grants is denied.
 */
export class ClientRights {
  readonly acl: Acl
  /** True if the user or client id would widen a pattern; then the client has no rights. */
  readonly isUnsafe: boolean
  readonly #lists: readonly (readonly AclEntry[])[]
  /** Rights on the latest topics. */
  readonly #cache = new Map<string, number>()

  constructor(acl: Acl, user: string | undefined, clientId: string) {
    this.acl = acl
    const isUsed = (placeholder: string): boolean =>
      acl.patterns.some(({ filter }) => filter.includes(placeholder))
    this.isUnsafe =
      (user !== undefined && UNSAFE_NAME.test(user) && isUsed('%u')) ||
      (UNSAFE_NAME.test(clientId) && isUsed('%c'))
    const patterns = acl.patterns
      .filter(({ filter }) => user !== undefined || !filter.includes('%u'))
      .map(({ access, filter }) => ({
        access,
        filter: filter.replaceAll(/%[uc]/g, word => (word === '%u' ? (user ?? '') : clientId)),
      }))
    const own = user === undefined ? acl.anonymous : acl.users.get(user)
    this.#lists = this.isUnsafe ? [] : [own ?? [], patterns]
  }

  mayRead(topic: string): boolean {
    return (this.#rightsOn(topic) & READ) !== 0
  }

  mayWrite(topic: string): boolean {
    return (this.#rightsOn(topic) & WRITE) !== 0
  }

  #rightsOn(topic: string): number {
    const known = this.#cache.get(topic)
    if (known !== undefined) return known
    const rights = this.#find(READ, topic) | this.#find(WRITE, topic)
    if (topic.length > MAX_SIZES.cachedTopicChars) return rights
    if (this.#cache.size >= MAX_SIZES.topicsPerSender) this.#cache.clear()
    this.#cache.set(topic, rights)
    return rights
  }

  /** Returns a right if it is granted on a topic, and 0 if not. */
  #find(right: number, topic: string): number {
    for (const entries of this.#lists) {
      const matching = entries.filter(({ filter }) => matches(filter, topic))
      if (matching.some(({ access }) => access === 'deny')) return 0
      if (matching.some(({ access }) => (BITS[access] & right) !== 0)) return right
    }
    return 0
  }
}
