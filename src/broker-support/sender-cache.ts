import { hashLongPart } from '../core/hash-long-part.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Sender } from '../core/message.ts'
import { TwoGenerationCache } from '../core/two-generation-cache.ts'

/**
 * Bounded cache of senders by key, for adapters without a connection per sender. Limits cache their slots on the sender
 * object, so one object per sender makes decisions fast. Busy entries are kept, up to a quarter of the size.
 */
export class SenderCache<T extends object> {
  readonly #entries: TwoGenerationCache<T>

  constructor(isBusy?: (entry: T) => boolean) {
    this.#entries = new TwoGenerationCache({
      maxEntries: MAX_SIZES.cachedSenders,
      maxKeyChars: Infinity,
      maxTotalChars: MAX_SIZES.cachedSenderChars,
      isBusy,
    })
  }

  get size(): number {
    return this.#entries.size
  }

  /** Returns the entry of a key, or undefined if it is not cached. */
  get(key: string): T | undefined {
    return this.#entries.get(hashLongPart(key, MAX_SIZES.cachedSenderKeyChars), key.length)
  }

  /** Caches an entry and returns it. */
  set(key: string, entry: T): T {
    this.#entries.set(hashLongPart(key, MAX_SIZES.cachedSenderKeyChars), entry, key.length)
    return entry
  }
}

/**
 * Returns a unique key for a sender. Joins texts, each with its length before it, which takes half the time of JSON
 * (220 ns instead of 400).
 */
export function keyOfSender(sender: Partial<Sender>): string {
  const { client, user, device, apiKey, ip, roles, tier } = sender
  return (
    (roles === undefined ? joinTexts([client, user, device, apiKey, ip, tier]) : undefined) ??
    JSON.stringify([client, user, device, apiKey, ip, tier, roles])
  )
}

/** Returns a key for the unknown sender of a topic. No key of a sender starts like it. */
export function cacheKeyOfUnknownSender(topic: string): string {
  return `\0${topic}`
}

/** Returns undefined if a part is not a text, as the application's `identify` may return anything. */
function joinTexts(parts: readonly (string | undefined)[]): string | undefined {
  let key = ''
  for (const text of parts) {
    if (text === undefined) key += '-'
    else if (typeof text === 'string') key += `${text.length}:${text}`
    else return undefined
  }
  return key
}
