import { describe, expect, it } from 'vitest'
import { combineDecisions } from '../../../../src/chain/evaluation/combine-verdicts.ts'
import { type Decision, PASSED } from '../../../../src/core/decision.ts'

const uncounted: Decision = {
  allowed: true,
  outcome: 'deliver',
  reason: 'store_unavailable',
  retryAfterMs: 0,
  fallback: true,
}
const counted: Decision = {
  ...PASSED,
  rule: 'a',
  limit: 10,
  remaining: 4,
  resetMs: 1,
}
const denied: Decision = { ...counted, allowed: false, outcome: 'drop', reason: 'rate_limit_exceeded' }

describe('two parts of a chain, one of which the store did not decide', () => {
  it.each([
    ['nothing else applied: nobody counted', uncounted, PASSED, uncounted],
    [
      'a rule counted later: it is named, and the answer says so',
      uncounted,
      counted,
      { ...counted, fallback: true },
    ],
    [
      'a rule counted before',
      counted,
      { ...counted, rule: 'b', remaining: 1, fallback: true },
      { ...counted, rule: 'b', remaining: 1, fallback: true },
    ],
    ['the store itself refused later: that is no outage', uncounted, denied, denied],
    ['the store decided both', counted, PASSED, counted],
  ])('%s', (_title, first, later, answer) => {
    expect(combineDecisions(first, later)).toEqual(answer)
  })

  it('keep the shadow rules of both', () => {
    const first = { ...uncounted, shadow: ['x'] }
    expect(combineDecisions(first, { ...PASSED, shadow: ['y'] })).toMatchObject({
      shadow: ['x', 'y'],
      fallback: true,
    })
  })
})
