import { describe, expect, it } from 'vitest'
import { Hysteresis } from '../../../src/adaptive/hysteresis.ts'
import { random } from '../../support/random.ts'

function levels(): Hysteresis {
  return new Hysteresis({ name: 'low', factor: 1.5 }, [
    { above: 0.3, name: 'medium', factor: 1 },
    { above: 0.7, name: 'high', factor: 0.5 },
  ])
}

/** The rungs after each value. */
function climb(hysteresis: Hysteresis, ...values: number[]): string[] {
  return values.map(value => {
    hysteresis.record(value)
    return hysteresis.level.name
  })
}

describe('hysteresis', () => {
  it('selects a harsher level at once, skipping levels between', () => {
    expect(climb(levels(), 0.1, 0.3, 0.31, 0.7, 0.71, 1)).toEqual([
      ...['low', 'low', 'medium', 'medium', 'high', 'high'],
    ])
    expect(climb(levels(), 0.1, 0.9)).toEqual(['low', 'high'])
  })

  it('selects a milder level after two consecutive readings a tenth below its threshold', () => {
    expect(climb(levels(), 0.9, 0.63, 0.63, 0.63)).toEqual(['high', 'high', 'medium', 'medium'])
    expect(climb(levels(), 0.9, 0.64, 0.64, 0.64)).toEqual(['high', 'high', 'high', 'high'])
    expect(climb(levels(), 0.9, 0.1, 0.65, 0.1, 0.1)).toEqual(['high', 'high', 'high', 'high', 'low'])
  })

  it('selects the harsher of two alternating milder levels', () => {
    expect(climb(levels(), 0.9, 0.1, 0.5)).toEqual(['high', 'high', 'medium'])
  })

  it('changes once in a thousand readings around a threshold', () => {
    const chance = random(7)
    const hysteresis = levels()
    let changes = 0
    let last = ''
    for (let reading = 0; reading < 1_000; reading++) {
      hysteresis.record(0.7 + (chance.next() - 0.5) * 0.1)
      if (hysteresis.level.name !== last) changes++
      last = hysteresis.level.name
    }
    // The first reading may lie below: then one change more.
    expect(changes).toBeLessThanOrEqual(2)
    expect(last).toBe('high')
  })
})
