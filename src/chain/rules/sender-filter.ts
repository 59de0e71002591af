import { compileAddresses } from '../../conditions/cidr.ts'
import { policyError } from '../../core/errors.ts'
import { isNonEmptyString, type Sender } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'

/** Lists of senders by their parts. One entry of one list is enough. */
export interface SenderMatchLists {
  readonly clients?: readonly string[] | undefined
  readonly devices?: readonly string[] | undefined
  readonly users?: readonly string[] | undefined
  readonly apiKeys?: readonly string[] | undefined
  readonly roles?: readonly string[] | undefined
  readonly tiers?: readonly string[] | undefined
  /** Addresses and CIDR blocks, v4 and v6. */
  readonly ips?: readonly string[] | undefined
}

/** Returns true if a list covers a sender; undefined if the sender lacks the part. */
type Cover = (sender: Sender) => boolean | undefined

/** Returns true if any list covers a sender. */
export type CoversSender = (sender: Sender) => boolean

const PARTS = {
  clients: 'client',
  devices: 'device',
  users: 'user',
  apiKeys: 'apiKey',
  tiers: 'tier',
} as const

const SENDER_LISTS: KnownOptions<SenderMatchLists> = {
  clients: true,
  devices: true,
  users: true,
  apiKeys: true,
  roles: true,
  tiers: true,
  ips: true,
}

/**
 * Compiles lists. Returns undefined if there are none. Throws PolicyError; `path` precedes the name of a list
 * in messages.
 */
export function compileSenderLists(lists: SenderMatchLists, path = ''): CoversSender | undefined {
  const covers = compileCovers(lists, path)
  return covers.length === 0 ? undefined : sender => covers.some(cover => cover(sender) === true)
}

/**
 * Compiles the `for` lists of a rule. On a connect, a sender that lacks the part of a list is covered by it.
 * Why: nothing is authenticated yet, and omitting a field must not avoid a rule. Throws PolicyError.
 */
export function compileForLists(lists: SenderMatchLists, on: string): CoversSender {
  if (typeof lists !== 'object' || lists === null || Array.isArray(lists)) {
    throw policyError('for', 'a rule is for an object of lists', 'write for: { roles: [guest] }')
  }
  checkOptionNames(lists, SENDER_LISTS, 'for')
  const covers = compileCovers(lists, 'for.')
  if (covers.length === 0)
    throw policyError(
      'for',
      'it names no list',
      `give one of ${Object.keys(SENDER_LISTS).join(', ')}, or leave it out`,
    )
  const isClaim = on === 'connect'
  return sender => covers.some(cover => cover(sender) ?? isClaim)
}

function compileCovers(lists: SenderMatchLists, path: string): readonly Cover[] {
  const covers: Cover[] = []
  for (const list of ['clients', 'devices', 'users', 'apiKeys', 'tiers'] as const) {
    const names = lists[list]
    if (names === undefined) continue
    const known = readNames(names, `${path}${list}`)
    const part = PARTS[list]
    covers.push(sender => {
      const name = sender[part]
      return isNonEmptyString(name) ? known.has(name) : undefined
    })
  }
  if (lists.roles !== undefined) {
    const roles = readNames(lists.roles, `${path}roles`)
    covers.push(sender => (sender.roles?.length ? sender.roles.some(role => roles.has(role)) : undefined))
  }
  if (lists.ips !== undefined) {
    const isListed = compileAddresses(lists.ips, `${path}ips`)
    covers.push(sender => (sender.ip === undefined ? undefined : isListed(sender.ip)))
  }
  return covers
}

function readNames(names: unknown, path: string): ReadonlySet<string> {
  if (Array.isArray(names) && names.every(name => typeof name === 'string')) return new Set<string>(names)
  throw policyError(path, 'it is not a list of texts', 'write a list, as [a, b]')
}
