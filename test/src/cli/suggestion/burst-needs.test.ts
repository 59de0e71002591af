import { describe, expect, it } from 'vitest'
import { BurstNeeds, CANDIDATE_RATES } from '../../../../src/cli/suggestion/burst-needs.ts'
import { fitLimit, formatRate } from '../../../../src/cli/suggestion/fit-limit.ts'
import { parseRate } from '../../../../src/core/units.ts'
import { random } from '../../../support/random.ts'

/** The definition, for one key and rate. */
function needOf(times: readonly number[], ratePerSecond: number): number {
  let level = 0
  let need = 0
  let lastMs = times[0] ?? 0
  for (const atMs of times) {
    level = Math.max(0, level - ((atMs - lastMs) * ratePerSecond) / 1_000) + 1
    need = Math.max(need, level)
    lastMs = atMs
  }
  return need
}

describe('the bursts that keys need', () => {
  it('are those of the definition, at each rate and for any traffic', () => {
    const chance = random(5)
    const needs = new BurstNeeds(200)
    const timesOf = new Map<string, number[]>()
    for (let atMs = 0, sent = 0; sent < 5_000; sent++) {
      if (chance.chance(0.7)) atMs += chance.int(0, chance.pick([3, 300, 30_000]))
      const key = `k${chance.int(1, 100)}`
      needs.record(key, atMs)
      timesOf.set(key, [...(timesOf.get(key) ?? []), atMs])
    }
    for (const { key, messages, needs: found } of needs.list()) {
      const times = timesOf.get(key)!
      expect(messages).toBe(times.length)
      for (const [index, rate] of CANDIDATE_RATES.entries()) {
        expect(found[index]).toBeCloseTo(needOf(times, rate), 6)
      }
    }
    expect(needs.size).toBe(timesOf.size)
  })

  it('of too many keys are those of a half, with their whole history', () => {
    const needs = new BurstNeeds(1_000)
    for (let round = 0; round < 3; round++) {
      for (let key = 0; key < 3_000; key++) needs.record(`sender-${key}`, round * 60_000)
    }
    expect(needs.size).toBeLessThanOrEqual(1_000)
    expect(needs.size).toBeGreaterThan(500)
    for (const { messages } of needs.list()) expect(messages).toBe(3)
  })
})

describe('a fitted limit', () => {
  const options = { quantile: 0.999, spanMs: 600_000, capturedMs: 600_000 }

  it('covers all ordinary keys, and names those that are far from them', () => {
    const needs = new BurstNeeds(200)
    for (let atMs = 0; atMs < 600_000; atMs += 10_000) {
      for (let key = 0; key < 99; key++) needs.record(`k${key}`, atMs)
    }
    for (let atMs = 0; atMs < 600_000; atMs += 20) needs.record('loud', atMs)
    const fit = fitLimit(needs, options)!
    expect(fit.outliers.map(({ key, reason }) => [key, reason])).toEqual([['loud', 'sends 500 × the median']])
    expect([fit.keys, fit.ratePerSecond, fit.limit]).toEqual([100, 0.1, '9/min burst 2'])
  })

  it('names a key that has an ordinary mean and an extraordinary burst', () => {
    const needs = new BurstNeeds(200)
    for (let atMs = 0; atMs < 600_000; atMs += 10_000) {
      for (let key = 0; key < 99; key++) needs.record(`k${key}`, atMs)
    }
    for (let sent = 0; sent < 60; sent++) needs.record('sudden', 600_000)
    const fit = fitLimit(needs, options)!
    expect(fit.outliers.map(({ key, reason }) => [key, reason])).toEqual([
      ['sudden', 'has bursts of 60 × those of all others'],
    ])
    expect(fit.burst).toBe(2)
  })

  it('takes many keys that send more for devices of another kind', () => {
    const needs = new BurstNeeds(200)
    for (let atMs = 0; atMs < 600_000; atMs += 1_000) {
      for (let key = 0; key < 20; key++) needs.record(`fast${key}`, atMs)
      if (atMs % 60_000 === 0) for (let key = 0; key < 80; key++) needs.record(`slow${key}`, atMs)
    }
    const fit = fitLimit(needs, options)!
    expect(fit.outliers).toEqual([])
    expect(fit.ratePerSecond).toBe(1)
  })

  it('is written as a rate that is not below the exact one, and close to it', () => {
    const chance = random(3)
    for (let nth = 0; nth < 500; nth++) {
      const exact = 10 ** (chance.next() * 9 - 4)
      const { count, periodMs } = parseRate(formatRate(exact))
      const written = (count / periodMs) * 1_000
      expect(written).toBeGreaterThanOrEqual(exact * 0.999_99)
      expect(written).toBeLessThanOrEqual(exact * 1.16)
    }
  })
})
