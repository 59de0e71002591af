import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PolicyError } from '../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Dialect } from '../../../src/core/message.ts'
import { GRAMMARS } from '../../../src/topic/dialect.ts'
import { matches, parsePattern, validPattern } from '../../../src/topic/pattern.ts'
import { Trie } from '../../../src/topic/trie.ts'
import { texts, topics } from './alphabet.ts'

function trieOf(patterns: readonly string[], dialect: Dialect = 'mqtt'): Trie {
  const trie = new Trie(dialect)
  patterns.forEach((pattern, id) => {
    trie.add(parsePattern(pattern, dialect), id)
  })
  return trie
}

describe('a trie', () => {
  it.each(['mqtt', 'nats'] as const)('finds the same patterns as matching one by one, in %s', dialect => {
    const { separator } = GRAMMARS[dialect]
    let found = 0
    const sound = texts(dialect).filter(text => validPattern(text, dialect))
    fc.assert(
      fc.property(
        fc.array(sound, { maxLength: 25 }),
        fc.array(topics(dialect), { minLength: 1, maxLength: 8 }),
        (written, names) => {
          const patterns = written.map(text => parsePattern(text, dialect))
          const trie = new Trie(dialect)
          patterns.forEach((pattern, id) => {
            trie.add(pattern, id)
          })
          for (const topic of names) {
            const expected = patterns.flatMap((pattern, id) =>
              matches(pattern.levels.join(separator), topic, dialect) ? [id] : [],
            )
            found += expected.length
            expect(trie.match(topic)).toEqual(expected)
          }
        },
      ),
      { seed: 51, numRuns: 1000 },
    )
    expect(found).toBeGreaterThan(500)
  })

  it('a capture matches as the wildcard of one level: an empty level, but no $-topic at the start', () => {
    const trie = trieOf(['{a}/x', '/{a}', 'y/{a}'])
    expect(trie.match('/x')).toEqual([0, 1])
    expect(trie.match('$SYS/x')).toEqual([])
    expect(trie.match('/$SYS')).toEqual([1])
    expect(trie.match('y/')).toEqual([2])
    expect(trieOf(['{a}.x'], 'nats').match('$SYS.x')).toEqual([0])
  })

  it('returns ids in ascending order and unique, whatever their order of insertion', () => {
    const trie = new Trie('mqtt')
    for (const [text, id] of [
      ['a/#', 9],
      ['a/b', 3],
      ['#', 7],
      ['a/#', 2],
      ['a/b', 9],
      ['+/b', 0],
      ['a/b', 3],
      ['a/b/#', 5],
    ] as const)
      trie.add(parsePattern(text, 'mqtt'), id)
    expect(trie.match('a/b')).toEqual([0, 2, 3, 5, 7, 9])
    expect(trie.match('a')).toEqual([2, 7, 9])
    const several = new Trie('mqtt')
    for (const text of ['a/#', 'a/+', 'a/b']) several.add(parsePattern(text, 'mqtt'), 4)
    expect(several.match('a/b')).toEqual([4])
  })

  it('an answer stays the same when patterns are added, and the next one includes them', () => {
    const trie = trieOf(['a'])
    const before = trie.match('a')
    trie.add(parsePattern('a', 'mqtt'), 1)
    expect(before).toEqual([0])
    expect(trie.match('a')).toEqual([0, 1])
  })

  it('an empty trie matches nothing', () => {
    expect(new Trie('mqtt').match('a/b')).toEqual([])
    expect(new Trie('nats').match('a.b')).toEqual([])
  })

  it('a pattern of the other dialect is refused', () => {
    expect(() => new Trie('mqtt').add(parsePattern('a.*', 'nats'), 0)).toThrow(PolicyError)
  })

  it('a topic deeper than any pattern matches only the wildcard for the rest', () => {
    const deepest = Array(MAX_SIZES.topicLevels).fill('a').join('/')
    const trie = trieOf([
      deepest,
      deepest.replaceAll('a', '+'),
      '#',
      'a/#',
      `${deepest.slice(0, -1)}#`,
      'b/#',
    ])
    expect(trie.match(deepest)).toEqual([0, 1, 2, 3, 4])
    expect(trie.match(`${deepest}/a`)).toEqual([2, 3, 4])
    expect(trie.match(Array(10_000).fill('a').join('/'))).toEqual([2, 3, 4])
    expect(trie.match('/'.repeat(MAX_SIZES.topicBytes))).toEqual([2])
  })

  it('a literal and a wildcard side by side at every level find all their combinations', () => {
    const patterns = Array.from({ length: 1024 }, (_, bits) =>
      Array.from({ length: 10 }, (_, level) => ((bits >> level) & 1 ? '+' : 'a')).join('/'),
    )
    const trie = trieOf(patterns)
    expect(trie.match(Array(10).fill('a').join('/'))).toHaveLength(1024)
    expect(trie.match(Array(10).fill('b').join('/'))).toEqual([1023])
    expect(trie.match(Array(11).fill('a').join('/'))).toEqual([])
  })

  it('10,000 patterns cost a walk about as much as ten', () => {
    // Looks at levels are counted, not time: a topic is sliced once per level, however many patterns there are.
    const slices = (count: number): number => {
      const trie = trieOf(Array.from({ length: count }, (_, index) => `fleet/d${index}/+/#`))
      const slice = String.prototype.slice
      let calls = 0
      String.prototype.slice = function counted(this: string, ...bounds: [number?, number?]) {
        calls++
        return slice.apply(this, bounds)
      }
      try {
        expect(trie.match('fleet/d7/telemetry/temperature/inside')).toEqual([7])
      } finally {
        String.prototype.slice = slice
      }
      return calls
    }
    expect(slices(10_000)).toBe(slices(10))
  })
})

describe('a subscription filter', () => {
  it('is matched with its wildcards as ordinary levels', () => {
    const trie = trieOf(['fleet/#', 'fleet/+/x', '#', '$SYS/#'])
    expect(trie.matchFilter('fleet/#')).toEqual([0, 2])
    expect(trie.matchFilter('fleet/+/x')).toEqual([0, 1, 2])
    expect(trie.matchFilter('#')).toEqual([2])
    expect(trie.matchFilter('$SYS/#')).toEqual([3])
    expect(trie.match('fleet/#')).toEqual([])
  })

  it('of a shared subscription is matched without its group', () => {
    const trie = trieOf(['fleet/#', '$SYS/#', 'g/#'])
    expect(trie.matchFilter('$share/g/fleet/+')).toEqual([0])
    expect(trie.matchFilter('$share/g')).toEqual([])
    expect(trie.matchFilter(undefined as unknown as string)).toEqual([])
  })

  it('is an ordinary subject in NATS', () => {
    expect(trieOf(['a.>', 'a.*', '>'], 'nats').matchFilter('a.>')).toEqual([0, 1, 2])
  })
})
