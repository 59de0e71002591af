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
})
