import { describe, expect, it } from 'vitest'
import { createLimit } from '../../../../src/algorithms/index.ts'
import type { Verdict } from '../../../../src/algorithms/limit-types.ts'
import { getMiddlewareMeta } from '../../../../src/chain/routing/plan-steps.ts'
import type { Rule } from '../../../../src/chain/rules/create-limit-middleware.ts'
import { scaleRule } from '../../../../src/chain/rules/load-scaling.ts'
import { limit, quota } from '../../../../src/index.ts'
import { KeyTable } from '../../../../src/stores/memory/key-table.ts'

const FACTORS = [0.001, 0.3, 0.5, 0.7, 0.75, 1.2, 1.5, 3]
const NOW_MS = 1_700_000_000_000

function ruleOf(rate: string, algorithm: 'token-bucket'): Rule {
  return getMiddlewareMeta(limit({ name: 'r', rate, algorithm }))!.rule!
}

function scaled(rule: Rule, factor: number): Rule {
  return scaleRule(rule, { factor, reason: 'test' })
}

function remaining(table: KeyTable, slot: number, nowMs: number): number {
  const out: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
  table.records.probe(slot, nowMs, 0, out)
  return out.remaining
}

describe('a scaled rule', () => {
  it('keeps the record of each key and its exact usage', () => {
    const rule = ruleOf('7/s burst 70', 'token-bucket')
    const table = new KeyTable(rule.limit, 10)
    const slot = table.acquire('k', NOW_MS)
    const generation = table.generationOf(slot)
    table.records.charge(slot, NOW_MS, 20)
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

  it('refills by the old factor up to a change', () => {
    const rule = ruleOf('2 per minute', 'token-bucket')
    const table = new KeyTable(rule.limit, 10)
    const slot = table.acquire('k', NOW_MS)
    table.records.charge(slot, NOW_MS, 2)
    table.adopt(scaled(rule, 0.5).limit, NOW_MS + 15_000)
    table.adopt(rule.limit, NOW_MS + 35_000)
    // A half in 15 s, a third in 20 s, and so the last sixth of a unit after 5 s.
    expect(remaining(table, slot, NOW_MS + 39_999)).toBe(0)
    expect(remaining(table, slot, NOW_MS + 40_000)).toBe(1)
  })

  it('carries usage over even if a large limit has fewer steps', () => {
    const limits = [1_000_000_000, 700_000_000].map(count =>
      createLimit({ name: 'r', algorithm: 'token-bucket', count, periodMs: 86_400_000 }),
    )
    expect(limits[0]!.stepsPerGrain).not.toBe(limits[1]!.stepsPerGrain)
    const table = new KeyTable(limits[0]!, 10)
    table.records.charge(table.acquire('k', NOW_MS), NOW_MS, 300_000_000)
    table.adopt(limits[1]!, NOW_MS)
    expect(remaining(table, table.find('k'), NOW_MS)).toBe(400_000_000)
  })

  it('does not scale a quota', () => {
    const rule = getMiddlewareMeta(quota({ name: 'q', rate: '10/day' }))!.rule!
    expect(scaled(rule, 0.5)).toBe(rule)
  })
})
