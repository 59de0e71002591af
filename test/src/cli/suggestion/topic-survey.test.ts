import { describe, expect, it } from 'vitest'
import { TopicSurvey } from '../../../../src/cli/suggestion/topic-survey.ts'

function patternsOf(
  topics: readonly (readonly [topic: string, client?: string])[],
  dialect: 'mqtt' | 'nats' = 'mqtt',
): readonly string[] {
  const survey = new TopicSurvey(dialect)
  for (const [topic, client] of topics) survey.record(topic, { client })
  return survey.patterns()
}

const numbers = Array.from({ length: 30 }, (_, index) => index)

describe('the patterns of topics', () => {
  it('capture the level that names the sender', () => {
    expect(
      patternsOf([
        ['a/c1/t', 'c1'],
        ['a/c2/t', 'c2'],
        ['a/c2/u', 'c2'],
      ]),
    ).toEqual(['a/{device}/t', 'a/{device}/u'])
  })

  it('capture a level with more than twenty values, named after the one before', () => {
    expect(patternsOf(numbers.map(n => [`rooms/${n}/light`]))).toEqual(['rooms/{room}/light'])
    expect(
      patternsOf(
        numbers.map(n => [`v1.${n}.x`]),
        'nats',
      ),
    ).toEqual(['v1.{level2}.x'])
    expect(patternsOf(numbers.slice(0, 5).map(n => [`rooms/${n}`]))).toHaveLength(5)
  })

  it('join siblings with the same levels below, and leave others', () => {
    const topics = ['a', 'b', 'c'].flatMap(site => numbers.map(n => [`${site}/d${n}/t`, `d${n}`] as const))
    expect(patternsOf([...topics, ['x/other', 'd1']])).toEqual(['x/other', '{level1}/{device}/t'])
  })

  it('are at most twelve; the deepest levels are joined by a wildcard', () => {
    const topics = numbers.slice(0, 20).map(n => [`a/c/values/v${n}`, 'c'] as const)
    expect(patternsOf([...topics, ['a/c/state', 'c']])).toEqual(['a/{device}/state', 'a/{device}/values/#'])
  })

  it('capture levels that a pattern cannot have as they are', () => {
    expect(patternsOf([['a/{x}/t'], ['a/y/t']])).toEqual(['a/{level2}/t'])
  })

  it('end with a wildcard below the 32nd level', () => {
    const first = Array.from({ length: 32 }, (_, index) => `l${index}`).join('/')
    expect(patternsOf([[`${first}/x`], [`${first}${'/'.repeat(60_000)}`], ['a/b']])).toEqual([
      'a/b',
      `${first}/#`,
    ])
    expect(patternsOf([[first]])).toEqual([first])
  })

  it('are found in bounded time if any of many levels has many values', () => {
    const survey = new TopicSurvey('mqtt')
    let state = 1
    const word = (level: number): string => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
      return `${level}v${state % 15}`
    }
    for (let message = 0; message < 20_000; message++)
      survey.record(Array.from({ length: 8 }, (_, level) => word(level)).join('/'), { client: 'c' })
    expect(survey.patterns()).toEqual(['#'])
  })

  it('join levels of NATS without the subject above them', () => {
    const subjects = numbers.slice(0, 20).map(n => [`a.b.v${n}`] as const)
    expect(patternsOf([...subjects, ['a.b']], 'nats')).toEqual(['a.b', 'a.b.>'])
  })

  it('capture a level of more than 512 characters', () => {
    expect(patternsOf([[`a/${'x'.repeat(513)}/t`], ['a/y/t']])).toEqual(['a/{level2}/t'])
  })
})
