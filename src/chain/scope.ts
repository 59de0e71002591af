import { boundedPart } from '../bounded-part.ts'
import { canonicalIp } from '../conditions/cidr.ts'
import { readHeader } from '../conditions/header.ts'
import type { Message, Sender } from '../message.ts'
import { networkOf } from './network.ts'
import type { Scope } from './options.ts'

/** What a key may be made of. */
export interface KeySource {
  readonly message: Message
  /** Who sent it, after the policy's `senders`. */
  readonly sender: Sender
  /** The rule's own pattern as written; empty where it has none. */
  readonly pattern: string
  readonly captures: ReadonlyMap<string, string>
}

/** Makes the key of a message under a rule's `per`. */
export interface KeyMaker {
  readonly scopes: readonly Scope[]
  /** True where two messages of one sender and topic can have different keys. */
  readonly changing: boolean
  /** Stands before each key and is not shown; absent: nothing. */
  readonly prefix?: string
  keyOf(source: KeySource): string
}

/** Returns a key maker whose keys are apart from those of all other prefixes of the same length. */
export function withPrefix({ scopes, changing, keyOf }: KeyMaker, prefix: string): KeyMaker {
  return { scopes, changing, prefix, keyOf: source => prefix + keyOf(source) }
}

/** Returns a key as users know it: without the prefix of its key maker. */
export function shownKey({ prefix = '' }: KeyMaker, key: string): string {
  return key.slice(prefix.length)
}

type Part = (source: KeySource) => string | undefined

const PARTS: Readonly<Record<string, Part>> = {
  global: () => '',
  client: source => source.sender.client,
  device: source => source.sender.device,
  user: source => source.sender.user,
  apiKey: source => source.sender.apiKey,
  role: source => source.sender.roles?.[0],
  tier: source => source.sender.tier,
  ip: source => (source.sender.ip === undefined ? undefined : canonicalIp(source.sender.ip)),
  topic: source => source.message.topic,
  pattern: source => source.pattern,
}

export const SCOPE_WORDS: readonly string[] = Object.keys(PARTS)

const NETWORK = /^ip\/(\d{1,3})$/

/** What is wrong with a scope word, if anything, given the captures of the rule's pattern. */
export function scopeFlaw(scope: string, captures: readonly string[]): string | undefined {
  if (SCOPE_WORDS.includes(scope) || captures.includes(scope)) return undefined
  if (scope.startsWith('header.') && scope.length > 'header.'.length) return undefined
  const bits = NETWORK.exec(scope)?.[1]
  if (bits !== undefined)
    return Number(bits) >= 1 && Number(bits) <= 128 ? undefined : `${scope} is no prefix length`
  const known = [...SCOPE_WORDS, 'ip/24', 'header.NAME', ...captures]
  return `"${scope}" is neither a scope nor a capture of the rule's topic; it may be ${known.join(', ')}`
}

/**
 * A key maker for a rule's `per`. A part that a sender lacks counts as empty: those without it share one counter.
 * Keys are injective: parts of a combination carry their length, and a part too long to keep is replaced by its
 * SHA-256.
 */
export function compileScopes(per: Scope | readonly Scope[] | undefined): KeyMaker {
  const scopes = per === undefined ? ['global'] : typeof per === 'string' ? [per] : [...per]
  const parts = scopes.map(partOf)
  const changing = scopes.some(scope => scope.startsWith('header.'))
  const [only] = parts
  if (only !== undefined && parts.length === 1) {
    return { scopes, changing, keyOf: source => boundedPart(only(source) ?? '') }
  }
  return {
    scopes,
    changing,
    keyOf(source) {
      let key = ''
      for (const part of parts) {
        const text = boundedPart(part(source) ?? '')
        key += `${text.length}:${text}`
      }
      return key
    },
  }
}

function partOf(scope: string): Part {
  if (Object.hasOwn(PARTS, scope)) {
    const known = PARTS[scope]!
    if (scope === 'global') return known
    // `a/{device}/#` counted per device means the level of that name where the broker knows no device.
    return source => {
      const part = known(source)
      return part === undefined || part === '' ? (source.captures.get(scope) ?? part) : part
    }
  }
  if (scope.startsWith('header.')) {
    const name = scope.slice('header.'.length)
    return source => readHeader(source.message, name)[0]
  }
  const bits = NETWORK.exec(scope)?.[1]
  if (bits !== undefined) {
    return source => (source.sender.ip === undefined ? undefined : networkOf(source.sender.ip, Number(bits)))
  }
  return source => source.captures.get(scope)
}
