import { describe, expect, it } from 'vitest'
import { DEFAULT_LEVELS, parseLoadLevels, parseStages } from '../../../src/adaptive/parse-levels.ts'

describe('adaptive levels and stages', () => {
  it('parse levels with percentages or shares', () => {
    const expected = {
      lowest: { name: 'low', factor: 1.5 },
      higher: [
        { name: 'medium', factor: 1, above: 0.3 },
        { name: 'high', factor: 0.5, above: 0.7 },
      ],
    }
    expect(parseLoadLevels(DEFAULT_LEVELS)).toEqual(expected)
    expect(parseLoadLevels({ low: 'x1.5 up to 0.3', medium: '1 up  to 0.7', high: 'x0.5' })).toEqual(expected)
    expect(parseLoadLevels({ always: 0.25 })).toEqual({
      lowest: { name: 'always', factor: 0.25 },
      higher: [],
    })
  })

  it('parse stages in the order of their thresholds', () => {
    expect(parseStages('cpu', { '80%': 0.5, '60%': 0.75 })).toEqual([
      { above: 0.6, factor: 0.75, name: 'above 60%' },
      { above: 0.8, factor: 0.5, name: 'above 80%' },
    ])
    expect(parseStages('queue-depth', { 1000: 'x0.6' })).toEqual([
      { above: 1000, factor: 0.6, name: 'above 1000' },
    ])
  })

  it.each([
    [{}, /levels: there are 0 of them/],
    [{ low: 'fast up to 30%', high: 1 }, /levels\.low: "fast" is not a factor/],
    [{ 'very low': 1 }, /levels: "very low" cannot be the name/],
    [{ low: 0, high: 1 }, /levels\.low: the level has no bound/],
    [{ high: 0 }, /levels\.high: "0" is not a factor/],
    [{ high: 1001 }, /levels\.high: "1001" is not a factor/],
    [{ high: '1 up to 30%' }, /levels\.high: the last level has a bound/],
    [{ low: '1 up to 130%', high: 1 }, /levels\.low: a load is never above 100%/],
    [{ low: '1 up to nothing', high: 1 }, /levels\.low: "nothing" is not a threshold/],
    [{ low: '1 up to 1 up to 2', high: 1 }, /two bounds/],
    [{ low: '1 up to 30%', medium: '1 up to 20%', high: 1 }, /levels\.medium: its bound is not above/],
    [Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`l${n}`, 1])), /there are 17 of them/],
  ])('refuse %j', (words, message) => {
    expect(() => parseLoadLevels(words)).toThrow(message)
  })

  it('refuse invalid stages', () => {
    expect(() => parseStages('cpu', {})).toThrow(/stages\.cpu: there are 0/)
    expect(() => parseStages('cpu', { '0%': 1 })).toThrow(/stages\.cpu: "0%" is not a threshold/)
    expect(() => parseStages('cpu', { '60%': 'half' })).toThrow(/stages\.cpu: "half" is not a factor/)
  })
})
