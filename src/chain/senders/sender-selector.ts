import { createHash } from 'node:crypto'
import { blockOfAddress, canonicalBlock, familyOf } from '../../conditions/address-network.ts'
import { compileAddresses } from '../../conditions/cidr.ts'
import { checkWithPathPrefix, policyError } from '../../core/errors.ts'
import { hashLongPart } from '../../core/hash-long-part.ts'
import type { Sender } from '../../core/message.ts'

/** Parts of a sender that a runtime entry can name. */
export const SENDER_PARTS = ['client', 'user', 'device', 'apiKey', 'ip'] as const
export type SenderPart = (typeof SENDER_PARTS)[number]

/** Selects senders by exactly one part. `ip` may be an address or a CIDR block, v4 or v6. */
export type SenderSelector = { readonly [Part in SenderPart]?: string | undefined }

/** A validated subject. API keys are kept as SHA-256 only, because lists and logs show them. */
export interface SenderIdentifier {
  readonly part: SenderPart
  readonly text: string
}

/** Returns the part that identifies a sender: the requested one. Senders without a client id use another part. */
export function identifyingSenderPart(sender: Sender, per: SenderPart): SenderPart | undefined {
  const has = (part: SenderPart): boolean => typeof sender[part] === 'string' && sender[part] !== ''
  if (has(per)) return per
  return per === 'client' ? SENDER_PARTS.find(has) : undefined
}

/** Returns the subject that identifies a sender by a part; undefined if it has none. */
export function getSenderIdentifier(sender: Sender, per: SenderPart): SenderIdentifier | undefined {
  const part = identifyingSenderPart(sender, per)
  return part && { part, text: textOf(part, sender[part]!) }
}

const HIDDEN = /^sha256:[\w-]{43}$/

/** Parses a subject. Throws PolicyError. */
export function parseSenderSelector(subject: SenderSelector): SenderIdentifier {
  const named = SENDER_PARTS.filter(part => subject[part] !== undefined)
  const [part] = named
  const text = part && subject[part]
  if (part === undefined || named.length > 1 || typeof text !== 'string' || text === '') {
    const message = named.length > 1 ? `${named.join(' and ')} cannot be combined` : 'no sender is named'
    throw policyError('', message, `name one of ${SENDER_PARTS.join(', ')}`)
  }
  // A stored key is already hashed.
  if (part !== 'ip') return { part, text: HIDDEN.test(text) ? text : textOf(part, text) }
  checkWithPathPrefix('ip', () => compileAddresses([text], ''))
  return { part, text: canonicalBlock(text) }
}

function textOf(part: SenderPart, text: string): string {
  if (part !== 'apiKey') return hashLongPart(text)
  return `sha256:${createHash('sha256').update(text, 'utf16le').digest('base64url')}`
}

interface Blocks {
  readonly family: 4 | 6
  readonly bits: number
  users: number
}

/** Index of values by subject. A lookup costs one map access for each part of the sender and each network size. */
export class SenderIndex<T> {
  readonly #said = new Map<string, Set<T>>()
  readonly #blocks = new Map<string, Blocks>()
  /** Number of subjects by part. Unused parts are not looked up. */
  readonly #parts = new Map<SenderPart, number>()

  get isEmpty(): boolean {
    return this.#said.size === 0
  }

  /** Returns all values, of any sender. */
  *values(): IterableIterator<T> {
    for (const values of this.#said.values()) yield* values
  }

  add(whom: SenderIdentifier, value: T): void {
    const key = keyOf(whom.part, whom.text)
    const values = this.#said.get(key) ?? new Set()
    if (values.has(value)) return
    this.#said.set(key, values.add(value))
    this.#parts.set(whom.part, (this.#parts.get(whom.part) ?? 0) + 1)
    if (whom.part === 'ip') this.#blocksOf(whom.text).users++
  }

  remove(whom: SenderIdentifier, value: T): void {
    const key = keyOf(whom.part, whom.text)
    const values = this.#said.get(key)
    if (!values?.delete(value)) return
    if (values.size === 0) this.#said.delete(key)
    this.#parts.set(whom.part, this.#parts.get(whom.part)! - 1)
    if (whom.part !== 'ip') return
    const blocks = this.#blocksOf(whom.text)
    if (--blocks.users === 0) this.#blocks.delete(`${blocks.family}/${blocks.bits}`)
  }

  /** Returns all values that apply to a sender. Never throws. */
  entriesOf(sender: Sender): readonly T[] {
    if (this.isEmpty) return []
    const found: T[] = []
    for (const part of SENDER_PARTS) {
      const text = sender[part]
      if (typeof text !== 'string' || text === '' || !this.#parts.get(part)) continue
      if (part !== 'ip') this.#collect(keyOf(part, textOf(part, text)), found)
      else this.#collectBlocks(text, found)
    }
    return found
  }

  #collectBlocks(ip: string, found: T[]): void {
    const family = familyOf(ip)
    for (const blocks of this.#blocks.values()) {
      if (blocks.family === family) this.#collect(keyOf('ip', blockOfAddress(ip, blocks.bits)), found)
    }
  }

  #collect(key: string, found: T[]): void {
    for (const value of this.#said.get(key) ?? []) found.push(value)
  }

  #blocksOf(block: string): Blocks {
    const [ip = '', bits] = block.split('/')
    const family = familyOf(ip) ?? 4
    const key = `${family}/${bits}`
    let blocks = this.#blocks.get(key)
    if (blocks === undefined) {
      blocks = { family, bits: Number(bits), users: 0 }
      this.#blocks.set(key, blocks)
    }
    return blocks
  }
}

function keyOf(part: SenderPart, text: string): string {
  return `${part}:${text}`
}
