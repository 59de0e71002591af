import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PolicyError } from '../../../src/core/errors.ts'
import type { Dialect } from '../../../src/core/message.ts'
import { captureLevels, matches, parsePattern, validPattern, validTopic } from '../../../src/topic/pattern.ts'
import { texts, topics } from './alphabet.ts'

/** The standards' words as recursion over lists; knows nothing of the code under test. */
function naive(pattern: readonly string[], topic: readonly string[], dialect: Dialect, depth = 0): boolean {
  const [head, ...tail] = pattern
  const [level, ...others] = topic
  if (head === undefined) return level === undefined
  const rest = dialect === 'mqtt' ? '#' : '>'
  const one = dialect === 'mqtt' ? '+' : '*'
  const hidden = dialect === 'mqtt' && depth === 0 && (level ?? '').startsWith('$')
  if (head === rest) return !hidden && (level !== undefined || dialect === 'mqtt')
  if (level === undefined) return false
  if (head === one) return !hidden && naive(tail, others, dialect, depth + 1)
  return head === level && naive(tail, others, dialect, depth + 1)
}

function naiveMatches(pattern: string, topic: string, dialect: Dialect): boolean {
  const separator = dialect === 'mqtt' ? '/' : '.'
  const levels = pattern.split(separator)
  const parts = topic.split(separator)
  if (dialect === 'nats') {
    if ([...levels, ...parts].some(level => level === '' || level.includes(' '))) return false
    if (levels.indexOf('>') >= 0 && levels.indexOf('>') < levels.length - 1) return false
  } else {
    if (topic === '' || pattern === '' || /[+#]/.test(topic)) return false
    if (levels.some(level => level.length > 1 && /[+#]/.test(level))) return false
    if (levels.indexOf('#') >= 0 && levels.indexOf('#') < levels.length - 1) return false
  }
  return naive(levels, parts, dialect)
}

function refusal(text: string, dialect: Dialect = 'mqtt', path?: string): string {
  try {
    parsePattern(text, dialect, path)
  } catch (error) {
    expect(error).toBeInstanceOf(PolicyError)
    expect((error as PolicyError).problems[0]?.remedy).toBeTruthy()
    return (error as PolicyError).message
  }
  return 'not refused'
}

describe('matches', () => {
  it.each(['mqtt', 'nats'] as const)('agrees with a naive recursive matcher in %s', dialect => {
    let met = 0
    fc.assert(
      fc.property(texts(dialect), topics(dialect), (pattern, topic) => {
        const expected = naiveMatches(pattern, topic, dialect)
        if (expected) met++
        expect(matches(pattern, topic, dialect)).toBe(expected)
      }),
      { seed: 41, numRuns: 5000 },
    )
    expect(met).toBeGreaterThan(150)
  })

  it('accepts only valid input', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (pattern, topic) => {
        for (const dialect of ['mqtt', 'nats'] as const)
          if (matches(pattern, topic, dialect))
            expect([validPattern(pattern, dialect), validTopic(topic, dialect)]).toEqual([true, true])
      }),
      { seed: 42, numRuns: 2000 },
    )
  })

  it('a valid topic matches itself as a pattern', () => {
    fc.assert(
      fc.property(
        topics('mqtt').filter(topic => validTopic(topic)),
        topic => matches(topic, topic),
      ),
      { seed: 43 },
    )
  })

  it('treats braces as ordinary characters: captures belong to rules', () => {
    expect(matches('a/{x}', 'a/{x}')).toBe(true)
    expect(matches('a/{x}', 'a/b')).toBe(false)
  })
})

describe('parsePattern', () => {
  it('turns captures into the wildcard of one level and records their index', () => {
    expect(parsePattern('fleet/{site}/{device_2}/telemetry/#', 'mqtt')).toEqual({
      text: 'fleet/{site}/{device_2}/telemetry/#',
      dialect: 'mqtt',
      levels: ['fleet', '+', '+', 'telemetry', '#'],
      captures: [
        { name: 'site', level: 1 },
        { name: 'device_2', level: 2 },
      ],
    })
    expect(parsePattern('{_a}.b.>', 'nats')).toMatchObject({
      levels: ['*', 'b', '>'],
      captures: [{ name: '_a', level: 0 }],
    })
  })

  it('strips $share/group/ in MQTT, and counts levels after it', () => {
    const pattern = parsePattern('$share/g/a/{x}', 'mqtt')
    expect(pattern).toMatchObject({ levels: ['a', '+'], captures: [{ name: 'x', level: 1 }] })
    expect(captureLevels(pattern, 'a/b')).toEqual(new Map([['x', 'b']]))
    expect(parsePattern('$share/g/a', 'nats').levels).toEqual(['$share/g/a'])
  })

  it('supports captures named after properties of every object', () => {
    const pattern = parsePattern('{__proto__}/{constructor}', 'mqtt')
    expect([...captureLevels(pattern, 'a/b')]).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ])
  })

  it.each(['a/b{x}', '{x}b', '{}', '{1a}', '{a-b}', '{x', 'x}', '{a}{b}', '{{a}}'])(
    'refuses %s, which is not a capture, with a remedy',
    text => {
      expect(refusal(text)).toContain('is no capture (write a capture as a whole level, {name}')
    },
  )

  it('refuses a capture that occurs twice', () => {
    expect(refusal('a/{x}/b/{x}')).toBe(
      'topic: "a/{x}/b/{x}": the capture {x} stands twice (give each capture its own name)',
    )
  })

  it.each([
    ['', 'mqtt', 'must not be empty (write # to match every topic)'],
    ['', 'nats', 'must not be empty (write > to match every topic)'],
    ['a#', 'mqtt', '# must stand alone in its level (write "a/#")'],
    ['a/#/b', 'mqtt', '# must be the last character (use + for a single level in the middle)'],
    ['a/b+', 'mqtt', '+ must stand alone in its level'],
    ['$share/g', 'mqtt', 'write it as $share/group/filter'],
    ['$share/+/a', 'mqtt', 'write it as $share/group/filter'],
    ['a\0', 'mqtt', '"a\\u0000": a pattern must not hold the character U+0000'],
    ['a.>.b', 'nats', '> must be the last token (use * for a single token in the middle)'],
    ['a..b', 'nats', 'must not hold an empty token'],
    ['a b', 'nats', 'must not hold whitespace'],
  ] as const)('reports for %j in %s: %s', (text, dialect, message) => {
    expect(refusal(text, dialect)).toContain(message)
  })

  it('reports the given path, and cuts long patterns', () => {
    expect(refusal('a+', 'mqtt', 'rules[3].topic')).toMatch(/^rules\[3\]\.topic: "a\+": /)
    expect(refusal('+'.repeat(60_000)).length).toBeLessThan(300)
  })

  it('refuses values that are not text', () => {
    expect(refusal(7 as unknown as string)).toContain('must be text')
    expect(refusal(undefined as unknown as string)).toContain('must be text')
  })

  it('accepts 256 levels and refuses one more', () => {
    expect(parsePattern(Array(256).fill('+').join('/'), 'mqtt').levels).toHaveLength(256)
    expect(refusal(Array(257).fill('+').join('/'))).toContain('at most 256 levels')
  })

  it('accepts exactly the valid patterns where there are no braces', () => {
    for (const dialect of ['mqtt', 'nats'] as const)
      fc.assert(
        fc.property(texts(dialect), text => {
          expect(refusal(text, dialect) === 'not refused').toBe(validPattern(text, dialect))
        }),
        { seed: 44, numRuns: 1000 },
      )
  })
})

describe('levels of a topic', () => {
  it('captures contain their levels, even empty ones', () => {
    const pattern = parsePattern('{a}/x/{b}/+/{c}', 'mqtt')
    expect(captureLevels(pattern, '1/x//y/3')).toEqual(
      new Map([
        ['a', '1'],
        ['b', ''],
        ['c', '3'],
      ]),
    )
    expect(captureLevels(parsePattern('x.{a}.>', 'nats'), 'x.y.z.w')).toEqual(new Map([['a', 'y']]))
  })

  it('captures of a topic that is too short are omitted', () => {
    expect(captureLevels(parsePattern('{a}/{b}/{c}', 'mqtt'), '1/2')).toEqual(
      new Map([
        ['a', '1'],
        ['b', '2'],
      ]),
    )
    expect(captureLevels(parsePattern('x/{c}', 'mqtt'), 'x').size).toBe(0)
  })
})
