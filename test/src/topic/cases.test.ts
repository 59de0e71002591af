import { describe, expect, it } from 'vitest'
import { matches, parsePattern, validPattern, validTopic } from '../../../src/topic/pattern.ts'
import { Trie } from '../../../src/topic/trie.ts'
import cases from '../../data/topic-cases.json' with { type: 'json' }

// topic-cases.json holds facts read from the standards and cross-checked against real servers.
// The inputs of these five are too long, or no valid JSON text; they are made here, in the order of the file.
const MADE = ['a'.repeat(65_535), 'a'.repeat(65_536), 'ä'.repeat(32_768), 'a/\ud800', '/'.repeat(65_535)]

function trieMatches(pattern: string, topic: string, dialect: 'mqtt' | 'nats'): boolean {
  const trie = new Trie(dialect)
  trie.add(parsePattern(pattern, dialect), 0)
  return trie.match(topic).length === 1
}

describe('MQTT, case by case', () => {
  it.each(cases.mqtt.matching)(
    'filter $filter, topic $topic: $matches',
    ({ filter, topic, matches: expected }) => {
      expect(matches(filter, topic)).toBe(expected)
      // A rule reads a shared filter as the subscription it is, not as a name.
      if (!filter.startsWith('$share/')) expect(trieMatches(filter, topic, 'mqtt')).toBe(expected)
    },
  )

  let made = 0
  const filters = cases.mqtt.filters.map(one => ({ ...one, filter: one.filter ?? MADE[made++] ?? '' }))
  it('every case without an input has a generated one', () => {
    expect(made).toBe(MADE.length)
  })
  it.each(filters.map(one => ({ ...one, shown: one.filter.slice(0, 40) })))(
    'the filter $shown is valid: $valid',
    ({ filter, valid }) => {
      expect(validPattern(filter)).toBe(valid)
    },
  )

  it.each(cases.mqtt.names)('the topic $topic is valid: $valid', ({ topic, valid }) => {
    expect(validTopic(topic)).toBe(valid)
    expect(matches('#', topic)).toBe(valid)
  })

  it.each(cases.mqtt.shared)('shared filter $filter, topic $topic: $matches', one => {
    expect(matches(one.filter, one.topic)).toBe(one.matches)
    expect(trieMatches(one.filter, one.topic, 'mqtt')).toBe(one.matches)
  })
})

describe('NATS, case by case', () => {
  it.each(cases.nats)('pattern $pattern, subject $subject: $matches', one => {
    expect(validPattern(one.pattern, 'nats')).toBe(one.patternValid)
    expect(matches(one.pattern, one.subject, 'nats')).toBe(one.matches)
    if (one.patternValid) expect(trieMatches(one.pattern, one.subject, 'nats')).toBe(one.matches)
    else expect(() => parsePattern(one.pattern, 'nats')).toThrow()
  })
})

describe('unusual texts', () => {
  it('a topic is measured in UTF-8 bytes', () => {
    expect(validTopic('a'.repeat(65_535))).toBe(true)
    expect(validTopic('a'.repeat(65_536))).toBe(false)
    expect(validTopic('ä'.repeat(32_767))).toBe(true)
    expect(validTopic('ä'.repeat(32_768))).toBe(false)
    expect(validTopic('€'.repeat(21_845))).toBe(true)
    expect(validTopic('😀'.repeat(16_384))).toBe(false)
  })

  it('the longest topic is matched, one byte more is not', () => {
    const longest = `a/${'b'.repeat(65_533)}`
    expect([matches('a/+', longest), matches('a/#', longest), matches(longest, longest)]).toEqual([
      true,
      true,
      true,
    ])
    expect([matches('a/+', `${longest}b`), matches('#', `${longest}b`)]).toEqual([false, false])
    expect(trieMatches('a/+', longest, 'mqtt')).toBe(true)
    expect(trieMatches('#', `${longest}b`, 'mqtt')).toBe(false)
  })

  it('half a surrogate pair is no MQTT topic and no pattern, a whole pair is', () => {
    for (const text of ['\ud800', 'a/\udc00', '\udc00\ud800', 'a\ud83d/\ude00'])
      expect([validTopic(text), validPattern(text), validPattern(text, 'nats'), matches('#', text)]).toEqual(
        Array(4).fill(false),
      )
    expect(matches('+/\ud83d\ude00', 'a/\ud83d\ude00')).toBe(true)
  })

  it('U+0000 is not allowed in an MQTT topic; nats-server allows it, so the limits of > apply to it', () => {
    expect([validTopic('a\0'), validPattern('a\0'), matches('#', 'a\0')]).toEqual([false, false, false])
    expect([validTopic('a\0', 'nats'), matches('>', 'a\0', 'nats')]).toEqual([true, true])
    expect(validPattern('a\0', 'nats')).toBe(false)
  })

  it('values that are not text match nothing and never throw', () => {
    for (const nothing of [undefined, null, 7, {}, [], Symbol('a')] as unknown as string[]) {
      expect([validTopic(nothing), validPattern(nothing), validTopic(nothing, 'nats')]).toEqual([
        false,
        false,
        false,
      ])
      expect([matches(nothing, 'a'), matches('#', nothing)]).toEqual([false, false])
      expect(new Trie('mqtt').match(nothing)).toEqual([])
    }
  })
})
