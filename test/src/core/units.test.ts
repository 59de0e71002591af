import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PolicyError } from '../../../src/core/errors.ts'
import { parseBytes, parseDuration, parseMoment, parsePercent, parseRate } from '../../../src/core/units.ts'

const SEEDED = { seed: 20_251, numRuns: 300 }
const DAY_MS = 86_400_000

function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof PolicyError) return error.message
    throw error
  }
  throw new Error('nothing was refused')
}

describe('parseRate', () => {
  it.each([
    ['10/s', { count: 10, periodMs: 1000, bytes: false }],
    ['10 / s', { count: 10, periodMs: 1000, bytes: false }],
    [' 100/min ', { count: 100, periodMs: 60_000, bytes: false }],
    ['100 per minute', { count: 100, periodMs: 60_000, bytes: false }],
    ['100 per Minute', { count: 100, periodMs: 60_000, bytes: false }],
    ['5 per 5 minutes', { count: 5, periodMs: 300_000, bytes: false }],
    ['1 per 2s', { count: 1, periodMs: 2000, bytes: false }],
    ['3 per 1.5s', { count: 3, periodMs: 1500, bytes: false }],
    ['10k/s', { count: 10_000, periodMs: 1000, bytes: false }],
    ['1MB/s', { count: 1_000_000, periodMs: 1000, bytes: true }],
    ['1.5 MB/s', { count: 1_500_000, periodMs: 1000, bytes: true }],
    ['64KiB/s', { count: 65_536, periodMs: 1000, bytes: true }],
    ['500 bytes per hour', { count: 500, periodMs: 3_600_000, bytes: true }],
    ['10000/day', { count: 10_000, periodMs: DAY_MS, bytes: false, window: 'day' }],
    ['10 per week', { count: 10, periodMs: 7 * DAY_MS, bytes: false, window: 'week' }],
    ['1GB/month', { count: 1e9, periodMs: 30 * DAY_MS, bytes: true, window: 'month' }],
    ['10 per year', { count: 10, periodMs: 365 * DAY_MS, bytes: false, window: 'year' }],
    ['10 per 2 days', { count: 10, periodMs: 2 * DAY_MS, bytes: false }],
    ['10/24h', { count: 10, periodMs: DAY_MS, bytes: false }],
    ['10/s burst 20', { count: 10, periodMs: 1000, bytes: false, burst: 20 }],
    ['1MB/s burst 2MB', { count: 1_000_000, periodMs: 1000, bytes: true, burst: 2_000_000 }],
    ['unlimited', { count: Infinity, periodMs: 1000, bytes: false }],
    ['unlimited burst 5', { count: Infinity, periodMs: 1000, bytes: false, burst: 5 }],
    ['5/min per device', { count: 5, periodMs: 60_000, bytes: false, per: 'device' }],
    ['100 per minute per device', { count: 100, periodMs: 60_000, bytes: false, per: 'device' }],
    [
      '5/min burst 9 per device, topic',
      { count: 5, periodMs: 60_000, bytes: false, burst: 9, per: 'device,topic' },
    ],
    [
      '5/min per header.key burst 9',
      { count: 5, periodMs: 60_000, bytes: false, burst: 9, per: 'header.key' },
    ],
  ])('parses %j', (text, rate) => {
    expect(parseRate(text)).toEqual(rate)
  })

  it.each([
    ['0.5/s', 'the rate "0.5/s" is not a whole number (write 1 per 2s)'],
    ['0.3/s', 'the rate "0.3/s" is not a whole number (write 3 per 10s)'],
    ['2.5 per minute', 'the rate "2.5 per minute" is not a whole number (write 5 per 2m)'],
    ['0.5/2s', 'the rate "0.5/2s" is not a whole number (write 1 per 4s)'],
    ['0/s', 'the rate "0/s" lets nothing pass (use at least 1, as 1 per 1h)'],
    [
      '99999999999999999999/s',
      'the rate "99999999999999999999/s" is too large (the most is 2^53 - 1; write unlimited)',
    ],
    ['10/fortnight', '"fortnight" is not a unit of time (use ms, s, m, h, d, week, month or year)'],
    ['10/M', '"M" is not a unit of time (use ms, s, m, h, d, week, month or year)'],
    ['10/s burst 2MB', '"10/s burst 2MB" counts messages, its burst bytes (give both the same unit)'],
    ['10/s burst 0', 'the burst of "10/s burst 0" is not a whole number above 0 (write at least burst 1)'],
    ['10 per 0s', 'the period of "10 per 0s" is not a whole number of milliseconds (make it at least 1ms)'],
  ])('refuses %j with the remedy', (text, message) => {
    expect(refusal(() => parseRate(text))).toBe(message)
  })

  it.each([
    '',
    'fast',
    '10',
    '10/',
    '/s',
    '-5/s',
    '1e3/s',
    '10/s burst',
    '10/s burst 5 burst 6',
    '10/s per 5 minutes',
    '5/min per',
    '10Mb/s',
  ])('refuses %j and shows the syntax of a rate', text => {
    expect(refusal(() => parseRate(text))).toBe(
      `${JSON.stringify(text)} is not a rate (write it as 10/s, 100 per minute, 5 per 5 minutes, 1MB/s or unlimited, each with an optional burst N)`,
    )
  })

  it('refuses values that are not text and quotes only the start of a long one', () => {
    expect(refusal(() => parseRate(5 as unknown as string))).toContain('5 is not a rate')
    expect(refusal(() => parseRate(undefined as unknown as string))).toContain('undefined is not a rate')
    expect(refusal(() => parseRate({} as unknown as string))).toContain('an object is not a rate')
    expect(refusal(() => parseRate('9'.repeat(1_000_000))).length).toBeLessThan(300)
  })

  it('parses every rate that it can format', () => {
    const units = { ms: 1, s: 1000, min: 60_000, hours: 3_600_000 }
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e9 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[])),
        fc.option(fc.integer({ min: 1, max: 1e9 }), { nil: undefined }),
        (count, times, unit, burst) => {
          const text = `${count} per ${times} ${unit}${burst === undefined ? '' : ` burst ${burst}`}`
          const expected = { count, periodMs: times * units[unit], bytes: false }
          expect(parseRate(text)).toEqual(burst === undefined ? expected : { ...expected, burst })
        },
      ),
      SEEDED,
    )
  })

  it('returns a rate or throws PolicyError for any text', () => {
    const word = fc.constantFrom(
      '10',
      '/',
      's',
      'per',
      'burst',
      'unlimited',
      ' ',
      'MB',
      '0.5',
      'device',
      ',',
      '__proto__',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word).map(words => words.join('')),
        ),
        text => {
          try {
            const rate = parseRate(text)
            expect(rate.count >= 1 && rate.periodMs >= 1 && Number.isSafeInteger(rate.periodMs)).toBe(true)
          } catch (error) {
            expect(error).toBeInstanceOf(PolicyError)
          }
        },
      ),
      SEEDED,
    )
  })
})

describe('parseDuration', () => {
  it.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7d', 7 * DAY_MS],
    ['5 minutes', 300_000],
    ['1.1s', 1100],
    ['2 weeks', 14 * DAY_MS],
  ])('parses %j', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  it.each([
    ['5', 'the duration "5" has no unit (write 5ms or 5s)'],
    ['soon', '"soon" is not a duration (write a number and a unit, as 250ms, 30s, 5m, 1h or 7d)'],
    ['-1s', '"-1s" is not a duration (write a number and a unit, as 250ms, 30s, 5m, 1h or 7d)'],
    ['0s', 'a duration of 0 has no meaning here (write at least 1ms)'],
    [
      '0.5ms',
      '"0.5ms" is not a whole number of milliseconds (write a number and a unit, as 250ms, 30s, 5m, 1h or 7d)',
    ],
    ['5 parsecs', '"parsecs" is not a unit of time (use ms, s, m, h, d, week, month or year)'],
  ])('refuses %j with the remedy', (text, message) => {
    expect(refusal(() => parseDuration(text))).toBe(message)
  })
})

describe('parseMoment', () => {
  it.each([
    ['1970-01-01', 0],
    ['1970-01-02T00:00Z', DAY_MS],
    ['1970-01-02T00:00:00.250+01:00', DAY_MS - 3_600_000 + 250],
    ['2024-02-29', 1_709_164_800_000],
  ])('parses %j', (text, ms) => {
    expect(parseMoment(text)).toBe(ms)
  })

  it.each([
    '2026-01-31T12:00:00',
    '2026-02-30',
    '2026-02-30T12:00:00Z',
    '2026-1-31',
    '10000-01-01',
    '1969-12-31',
    '12:00',
    '',
  ])('refuses %j with the remedy', text => {
    expect(refusal(() => parseMoment(text))).toBe(
      `"${text}" is not a moment (write it as 2026-01-31T12:00:00Z, or +01:00 instead of Z)`,
    )
  })
})

describe('parseBytes', () => {
  it.each([
    [0, 0],
    [10, 10],
    ['10', 10],
    ['10B', 10],
    ['1MB', 1_000_000],
    ['10kB', 10_000],
    ['10KB', 10_000],
    ['64KiB', 65_536],
    ['1 GiB', 1_073_741_824],
    ['1.1kB', 1100],
  ])('parses %j', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes)
  })

  it.each([-1, 1.5, Number.NaN, 'lots', '-1', '10Mb', '10 m'])('refuses %j with the remedy', text => {
    expect(refusal(() => parseBytes(text))).toMatch(
      /is not a number of bytes \(write a whole number of bytes, or 10kB, 1MB \(k = 1000\), 64KiB \(Ki = 1024\)\)$/,
    )
  })

  it('refuses half a byte', () => {
    expect(refusal(() => parseBytes('0.5B'))).toContain('"0.5B" is not a whole number of bytes')
  })
})

describe('parsePercent', () => {
  it('parses percentages above 0 and up to 100', () => {
    expect([parsePercent('80%'), parsePercent('0.5 %'), parsePercent('100%')]).toEqual([0.8, 0.005, 1])
  })

  it.each(['0%', '101%', '80', 'most'])('refuses %j with the remedy', text => {
    expect(refusal(() => parsePercent(text))).toBe(
      `${JSON.stringify(text)} is not a percentage (write a number above 0 and up to 100 with a percent sign, as 80%)`,
    )
  })
})
