import { describe, expect, it } from 'vitest'
import {
  cacheKeyOfUnknownSender,
  keyOfSender,
  SenderCache,
} from '../../../src/broker-support/sender-cache.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Sender } from '../../../src/core/message.ts'

/** Returns the entry of a key, creating it if necessary. */
const find = (cache: SenderCache<Sender>, client: string): Sender =>
  cache.get(client) ?? cache.set(client, { client })

describe('a sender cache', () => {
  it('does not exceed its size, and keeps entries in use', () => {
    const cache = new SenderCache<Sender>()
    const regular = find(cache, 'regular')
    for (let n = 0; n < MAX_SIZES.cachedSenders * 2; n++) {
      find(cache, `invented-${n}`)
      if (n % 10_000 === 0) expect(find(cache, 'regular')).toBe(regular)
    }
    expect(cache.size).toBeLessThanOrEqual(MAX_SIZES.cachedSenders)
    expect(cache.size).toBeGreaterThan(MAX_SIZES.cachedSenders / 2)
    expect(find(cache, 'regular')).toBe(regular)
  })

  it('keeps busy entries, up to a quarter of its size', () => {
    const cache = new SenderCache<Sender>(({ client = '' }) => client.startsWith('busy'))
    const first = find(cache, 'busy-0')
    for (let n = 1; n < MAX_SIZES.cachedSenders / 2; n++) find(cache, `busy-${n}`)
    for (let n = 0; n < MAX_SIZES.cachedSenders * 2; n++) find(cache, `invented-${n}`)
    expect(cache.get('busy-0')).toBe(first)
    expect(cache.size).toBeLessThanOrEqual(MAX_SIZES.cachedSenders)
  })

  it('bounds the characters of all keys together', () => {
    const cache = new SenderCache<Sender>()
    const chars = MAX_SIZES.cachedSenderChars / 16
    for (let n = 0; n < 64; n++) find(cache, `${n}`.padEnd(chars, 'x'))
    expect(cache.size).toBeLessThanOrEqual(16)
    expect(cache.size).toBeGreaterThanOrEqual(8)
  })

  it('finds entries by long keys, and by keys that look like a hash', () => {
    const cache = new SenderCache<Sender>()
    const long = 'x'.repeat(MAX_SIZES.cachedSenderKeyChars + 1)
    const entry = find(cache, long)
    expect(cache.get(long)).toBe(entry)
    expect(cache.get(`${long}x`)).toBeUndefined()
    const likeHash = find(cache, 'sha256:abc')
    expect(cache.get('sha256:abc')).toBe(likeHash)
  })
})

describe('keys of senders', () => {
  it('differ if any field differs', () => {
    const senders: readonly unknown[] = [
      {},
      { client: 'a' },
      { user: 'a' },
      { client: 'a', user: 'b' },
      { client: 'a1:b' },
      { client: '', user: 'ab' },
      { client: 5 },
      { client: '5' },
      { roles: ['a', 'b'] },
      { roles: ['a,b'] },
      { client: 'a', roles: ['x'] },
    ]
    const keys = senders.map(sender => keyOfSender(sender as Sender))
    expect(new Set(keys).size).toBe(senders.length)
  })

  it('are equal for the same fields in another order', () => {
    expect(keyOfSender({ tier: 'gold', client: 'a' })).toBe(keyOfSender({ client: 'a', tier: 'gold' }))
  })

  it('of unknown senders equal no key of a sender', () => {
    const forged = [{ client: 'a' }, { client: 'a', roles: [] }, {}].map(keyOfSender)
    for (const topic of forged) expect(forged).not.toContain(cacheKeyOfUnknownSender(topic))
  })
})
