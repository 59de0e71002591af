import { addressKey, networkOf, V6_CUSTOMER_BITS } from '../../conditions/address-network.ts'
import { readHeaderValues } from '../../conditions/header.ts'
import { hashLongPart } from '../../core/hash-long-part.ts'
import type { Message, Sender } from '../../core/message.ts'
import type { TopicCaptures } from '../../topic/pattern.ts'
import type { Scope } from './rule-options.ts'

/** Inputs of a key. */
export interface KeyInputs {
  readonly message: Message
  /** Sender with the parts added by `senders` of the policy. */
  readonly sender: Sender
  /** Pattern of the rule as written; empty if it has none. */
  readonly pattern: string
  readonly captures: TopicCaptures
}

/** Builds keys for the `per` of a rule. */
export interface KeyMaker {
  readonly scopes: readonly Scope[]
  /** True if two messages of one sender and topic can have different keys. */
  readonly changing: boolean
  /** Hidden prefix of each key. */
  readonly prefix?: string | undefined
  keyOf(source: KeyInputs): string
}

/** Returns a key maker with a prefix. Keys of different prefixes of the same length never collide. */
export function prefixKeyMaker({ scopes, changing, keyOf }: KeyMaker, prefix: string): KeyMaker {
  return { scopes, changing, prefix, keyOf: source => prefix + keyOf(source) }
}

/** Returns a key without its hidden prefix. */
export function keyWithoutPrefix({ prefix = '' }: KeyMaker, key: string): string {
  return key.slice(prefix.length)
}

type Part = (source: KeyInputs) => string | undefined

const PARTS: Readonly<Record<string, Part>> = {
  global: () => '',
  client: source => source.sender.client,
  device: source => source.sender.device,
  user: source => source.sender.user,
  apiKey: source => source.sender.apiKey,
  role: source => source.sender.roles?.[0],
  tier: source => source.sender.tier,
  ip: source => (source.sender.ip === undefined ? undefined : addressKey(source.sender.ip)),
  topic: source => source.message.topic,
  pattern: source => source.pattern,
}

export const BUILT_IN_SCOPES: readonly string[] = Object.keys(PARTS)

const NETWORK = /^ip\/(\d{1,3})(?:\/(\d{1,3}))?$/

/** Returns the IPv4 and IPv6 prefix lengths of a network scope; undefined for other scopes and invalid lengths. */
function prefixesOf(scope: string): readonly [v4: number, v6: number] | undefined {
  const [, first, second] = NETWORK.exec(scope) ?? []
  if (first === undefined) return undefined
  const bits = Number(first)
  // A single length of up to 32 bits is for IPv4, a longer one for IPv6.
  const [v4, v6] =
    second !== undefined ? [bits, Number(second)] : bits > 32 ? [32, bits] : [bits, V6_CUSTOMER_BITS]
  return v4 >= 1 && v4 <= 32 && v6 >= 1 && v6 <= 128 ? [v4, v6] : undefined
}

/** Returns the problem with a scope, given the captures of the rule's pattern; undefined if it is valid. */
export function findScopeProblem(scope: string, captures: readonly string[]): string | undefined {
  if (BUILT_IN_SCOPES.includes(scope) || captures.includes(scope)) return undefined
  if (scope.includes('|')) {
    const words = scope.split('|')
    if (words.includes('global')) return `"${scope}": global is always known; leave out what comes after it`
    return words.map(word => findScopeProblem(word, captures)).find(problem => problem !== undefined)
  }
  if (scope.startsWith('header.') && scope.length > 'header.'.length) return undefined
  if (NETWORK.test(scope)) {
    return prefixesOf(scope) === undefined
      ? `${scope} is not a prefix length; write ip/24, or ip/24/56 for IPv4 and IPv6`
      : undefined
  }
  const known = [...BUILT_IN_SCOPES, 'ip/24', 'header.NAME', ...captures]
  return `"${scope}" is neither a scope nor a capture of the rule's topic; it may be ${known.join(', ')}`
}

/**
 * Compiles `per`. A part that a sender lacks counts as empty, so that all senders without it share a counter.
 * Keys are injective: combined parts carry their length, and a part that is too long is replaced by its
 * SHA-256.
 */
export function createKeyMaker(per: Scope | readonly Scope[] | undefined): KeyMaker {
  const scopes = per === undefined ? ['global'] : typeof per === 'string' ? [per] : [...per]
  const parts = scopes.map(partOf)
  const changing = scopes.some(scope => scope.split('|').some(word => word.startsWith('header.')))
  const [only] = parts
  if (only !== undefined && parts.length === 1) {
    return { scopes, changing, keyOf: source => hashLongPart(only(source) ?? '') }
  }
  return {
    scopes,
    changing,
    keyOf(source) {
      let key = ''
      for (const part of parts) {
        const text = hashLongPart(part(source) ?? '')
        key += `${text.length}:${text}`
      }
      return key
    },
  }
}

/** Returns a readable key such as `site=berlin, device=d7`. A part that the sender lacks is empty. */
export function describeKey(scopes: readonly string[], key: string): string {
  if (scopes.length === 1) return `${scopes[0]}=${key}`
  const words: string[] = []
  let rest = key
  for (const scope of scopes) {
    const colon = rest.indexOf(':')
    const end = colon + 1 + Number(rest.slice(0, colon))
    words.push(`${scope}=${rest.slice(colon + 1, end)}`)
    rest = rest.slice(end)
  }
  return words.join(', ')
}

/** Returns true if a key has a value for each scope that names a part of a message or sender. */
export function isCompleteKey(scopes: readonly string[], key: string): boolean {
  const always = (scope: string): boolean => scope === 'global' || scope === 'pattern'
  if (scopes.length === 1) return key !== '' || always(scopes[0]!)
  let rest = key
  for (const scope of scopes) {
    const colon = rest.indexOf(':')
    const length = Number(rest.slice(0, colon))
    if (length === 0 && !always(scope)) return false
    rest = rest.slice(colon + 1 + length)
  }
  return true
}

function partOf(scope: string): Part {
  if (scope.includes('|')) {
    // Values of later alternatives carry their index, so that a user named like an address does not collide
    // with it.
    const parts = scope.split('|').map(partOf)
    return source => {
      for (let index = 0; index < parts.length; index++) {
        const value = parts[index]!(source)
        if (value !== undefined && value !== '')
          return index === 0 && !/^\d+\|/.test(value) ? value : `${index}|${value}`
      }
      return undefined
    }
  }
  if (Object.hasOwn(PARTS, scope)) {
    const known = PARTS[scope]!
    if (scope === 'global') return known
    // In `a/{device}/#` counted per device, the capture applies if the broker knows no device.
    return source => {
      const part = known(source)
      return part === undefined || part === '' ? (source.captures.get(scope) ?? part) : part
    }
  }
  if (scope.startsWith('header.')) {
    const name = scope.slice('header.'.length)
    return source => readHeaderValues(source.message, name)[0]
  }
  const prefixes = prefixesOf(scope)
  if (prefixes !== undefined) {
    const [v4, v6] = prefixes
    return ({ sender: { ip } }) => (ip === undefined ? undefined : networkOf(ip, v4, v6))
  }
  return source => source.captures.get(scope)
}
