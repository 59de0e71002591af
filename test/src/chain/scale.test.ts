import { describe, expect, it } from 'vitest'
import { createLimit } from '../../../src/algorithms/index.ts'
import type { Verdict } from '../../../src/algorithms/kernel.ts'
import type { Rule } from '../../../src/chain/limit.ts'
import { scaleRule } from '../../../src/chain/scale.ts'
import { stationOf } from '../../../src/chain/steps.ts'
import { limit, quota } from '../../../src/index.ts'
import { keepsCells, Table } from '../../../src/stores/memory/table.ts'

const FACTORS = [0.001, 0.3, 0.5, 0.7, 0.75, 1.2, 1.5, 3]
const NOW_MS = 1_700_000_000_000

function ruleOf(
  rate: string,
  algorithm: 'token-bucket' | 'leaky-bucket' | 'fixed-window' | 'sliding-log' | 'sliding-counter',
): Rule {
  return stationOf(limit({ name: 'r', rate, algorithm }))!.rule!
}

function scaled(rule: Rule, factor: number): Rule {
  return scaleRule(rule, { factor, reason: 'test' })
}

function remaining(table: Table, slot: number, nowMs: number): number {
  const out: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
  table.records.probe(slot, nowMs, 0, out)
  return out.remaining
}

describe('a rule under a scale', () => {
  it.each(['token-bucket', 'leaky-bucket', 'fixed-window', 'sliding-log', 'sliding-counter'] as const)(
    'converts no record of a %s, whatever the factors before and after',
    algorithm => {
      for (const rate of ['7/s', '10/s', '1000 per minute', '777/h', '5000/day']) {
        const rule = ruleOf(rate, algorithm)
        for (const before of FACTORS) {
          for (const after of FACTORS)
            expect(keepsCells(scaled(rule, before).limit, scaled(rule, after).limit)).toBe(true)
          expect(keepsCells(rule.limit, scaled(rule, before).limit)).toBe(true)
        }
      }
    },
  )

  it('keeps the record of each key where it is, and what was used of it to the last part of a unit', () => {
    const rule = ruleOf('7/s burst 70', 'token-bucket')
    const table = new Table(rule.limit, 10)
    const slot = table.acquire('k', NOW_MS)
    const generation = table.generationOf(slot)
    table.records.take(slot, NOW_MS, 20)
    for (let times = 0; times < 1_000; times++) {
      table.adopt(scaled(rule, FACTORS[times % FACTORS.length]!).limit, NOW_MS)
    }
    table.adopt(rule.limit, NOW_MS)
    expect(table.generationOf(slot)).toBe(generation)
    expect(remaining(table, slot, NOW_MS)).toBe(50)
    // Seven a second: a unit comes every 142.857 ms, and no change of the factor has rounded that.
    expect(remaining(table, slot, NOW_MS + 142)).toBe(50)
    expect(remaining(table, slot, NOW_MS + 143)).toBe(51)
    expect(remaining(table, slot, NOW_MS + 1_000)).toBe(57)
  })

  it('carries over what was used where a limit is so large that its steps are reduced', () => {
    const limits = [1_000_000_000, 700_000_000].map(count =>
      createLimit({ name: 'r', algorithm: 'token-bucket', count, periodMs: 86_400_000 }),
    )
    expect(keepsCells(limits[0]!, limits[1]!)).toBe(false)
    const table = new Table(limits[0]!, 10)
    table.records.take(table.acquire('k', NOW_MS), NOW_MS, 300_000_000)
    table.adopt(limits[1]!, NOW_MS)
    expect(remaining(table, table.find('k'), NOW_MS)).toBe(400_000_000)
  })

  it('leaves a quota as it is', () => {
    const rule = stationOf(quota({ name: 'q', rate: '10/day' }))!.rule!
    expect(scaled(rule, 0.5)).toBe(rule)
  })
})
