import { describe, expect, it } from 'vitest'
import type { Rule } from '../../../../src/dashboard/api/types.ts'
import { describeLimit } from '../../../../src/dashboard/format/describe-rule.ts'
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatShare,
  formatUnits,
} from '../../../../src/dashboard/format/format.ts'

describe('formatting', () => {
  it.each([
    [0, '0'],
    [12_345, '12,345'],
    [1_234_567, '1.23M'],
  ])('writes the count %d as %s', (count, text) => expect(formatCount(count)).toBe(text))

  it('writes units of a limit in bytes with their unit', () => {
    expect(formatUnits(4_000_000, 'bytes')).toBe('4 MB')
    expect(formatUnits(4_000, 'messages')).toBe('4,000')
  })

  it.each([
    [0.44, '0.4'],
    [9.96, '10'],
    [1_234, '1,234'],
  ])('writes the rate %d as %s', (rate, text) => expect(formatRate(rate)).toBe(text))

  it.each([
    [0, 0, '0 %'],
    [1, 100_000, '< 0.1 %'],
    [99_999, 100_000, '> 99.9 %'],
    [1, 30, '3.3 %'],
    [1, 3, '33 %'],
    [3, 3, '100 %'],
  ])('writes %d of %d as %s', (part, whole, text) => expect(formatShare(part, whole)).toBe(text))

  it.each([
    [0.0123, '0.012 ms'],
    [250, '250 ms'],
    [12_000, '12 s'],
    [3_900_000, '1 h 5 min'],
    [3_659_000, '1 h'],
    [90_000_000, '1 d 1 h'],
  ])('writes %d ms as %s', (ms, text) => expect(formatDuration(ms)).toBe(text))

  it.each([
    [0, '0 bytes'],
    [999, '999 bytes'],
    [256_000, '256 kB'],
    [1_500_000, '1.5 MB'],
  ])('writes %d bytes as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))
})

describe('describing the limit of a rule', () => {
  const rule = { count: 10, periodMs: 1_000, capacity: 50, unit: 'messages' } as Rule
  it.each([
    [{}, '10/s burst 50'],
    [{ capacity: 10 }, '10/s'],
    [{ periodMs: 90_000, capacity: null }, '10/1 min 30 s'],
    [{ unit: 'bytes', count: 1_000_000, capacity: 4_000_000 } as const, '1 MB/s burst 4 MB'],
    [{ count: null }, 'unlimited'],
  ])('writes it as a policy does: %o', (change, text) => {
    expect(describeLimit({ ...rule, ...change })).toBe(text)
  })
})
