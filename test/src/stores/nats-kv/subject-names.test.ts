import { describe, expect, it } from 'vitest'
import { PolicyError, StoreError } from '../../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { openNatsKv, parseNatsUrl } from '../../../../src/stores/nats-kv/open.ts'
import { checkBucketName, checkWhole, encodeToken } from '../../../../src/stores/nats-kv/subject-names.ts'
import { random } from '../../../support/random.ts'

describe('a subject token', () => {
  it('is the text itself if plain, and otherwise still readable', () => {
    expect(encodeToken('device-7_a')).toBe('device-7_a')
    expect(encodeToken('a.b')).toBe('a=002eb')
    expect(encodeToken('')).toBe('=')
    expect(encodeToken('=')).toBe('=003d')
  })

  it('differs for different texts, and is always a single token', () => {
    const dice = random(7)
    const letters = [
      'a',
      '=',
      '.',
      '*',
      '>',
      ' ',
      '0',
      '2',
      'e',
      '\u0000',
      'ä',
      '\ud83d',
      '\ude00',
      'k'.repeat(90),
    ]
    const texts = new Set(
      Array.from({ length: 20_000 }, () =>
        Array.from({ length: dice.int(0, 6) }, () => dice.pick(letters)).join(''),
      ),
    )
    const tokens = [...texts].map(encodeToken)
    expect(new Set(tokens).size).toBe(texts.size)
    for (const token of tokens) expect(token).toMatch(/^[\w=-]+$/)
  })

  it('is bounded: longer ones are hashed', () => {
    const longest = 'k'.repeat(MAX_SIZES.redisKeyPartChars)
    expect(encodeToken(longest)).toBe(longest)
    expect(encodeToken(`${longest}k`)).toMatch(/^==[\w-]{43}$/)
    expect(encodeToken('.'.repeat(MAX_SIZES.redisKeyPartChars))).toMatch(/^==[\w-]{43}$/)
  })
})

describe('options', () => {
  it('that are invalid are rejected with their path', () => {
    for (const name of ['', 'a.b', 'a b', '*', 'k'.repeat(65)])
      expect(() => checkBucketName(name)).toThrow(PolicyError)
    expect(checkBucketName('k'.repeat(64))).toHaveLength(64)
    for (const value of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => checkWhole('ttlMs', value, 1)).toThrow('ttlMs')
    }
  })
})

describe('the URL of NATS', () => {
  it.each([
    ['nats://h', { servers: ['h'] }],
    ['nats://h:1,[::1]:2/', { servers: ['h:1', '[::1]:2'] }],
    ['nats://u:p%40:@h', { servers: ['h'], user: 'u', pass: 'p@:' }],
    ['nats://tok@h', { servers: ['h'], token: 'tok' }],
    ['nats://h?token=tok', { servers: ['h'], token: 'tok' }],
    ['nats://u:%zz@h', { servers: ['h'], user: 'u', pass: '%zz' }],
  ])('%s is parsed', (url, address) => {
    expect(parseNatsUrl(url)).toEqual(address)
  })

  it.each([
    'nats://',
    'nats://:secret@',
    'redis://secret',
    'nats://h:secret',
    'nats://h,,secret@',
    'nats://a b',
  ])('%s is rejected, and not shown', url => {
    expect(() => parseNatsUrl(url)).toThrow(StoreError)
    expect(() => parseNatsUrl(url)).not.toThrow('secret')
  })

  it('needs one of two packages, the newer first', async () => {
    const asked: string[] = []
    const load = async (name: string): Promise<unknown> => {
      asked.push(name)
      throw new Error('not there')
    }
    await expect(openNatsKv('nats://h', { load })).rejects.toThrow(
      'neither @nats-io/transport-node nor nats is installed: run `npm install @nats-io/transport-node`',
    )
    expect(asked).toEqual(['@nats-io/transport-node', 'nats'])
  })
})
