import { describe, expect, it } from 'vitest'
import { CalendarWindow } from '../../../src/algorithms/calendar.ts'
import { limit, quota } from '../../../src/chain/rules/create-limit-middleware.ts'
import { parseQuota } from '../../../src/core/units.ts'
import { calendarWindow } from '../../laws/model-calendar.ts'
import { random } from '../../support/random.ts'

describe('windows that begin on a day of the month', () => {
  it.each([
    [15, 'UTC', '2026-02-14T23:59:59.999Z', '2026-01-15T00:00:00.000Z', '2026-02-15T00:00:00.000Z'],
    [15, 'UTC', '2026-02-15T00:00:00.000Z', '2026-02-15T00:00:00.000Z', '2026-03-15T00:00:00.000Z'],
    [15, 'Europe/Berlin', '2026-03-20T12:00:00Z', '2026-03-14T23:00:00.000Z', '2026-04-14T22:00:00.000Z'],
    // A month without that day begins on its last.
    [31, 'UTC', '2026-02-27T12:00:00Z', '2026-01-31T00:00:00.000Z', '2026-02-28T00:00:00.000Z'],
    [31, 'UTC', '2026-02-28T12:00:00Z', '2026-02-28T00:00:00.000Z', '2026-03-31T00:00:00.000Z'],
    [31, 'UTC', '2028-02-28T12:00:00Z', '2028-01-31T00:00:00.000Z', '2028-02-29T00:00:00.000Z'],
    [30, 'UTC', '2026-03-01T00:00:00Z', '2026-02-28T00:00:00.000Z', '2026-03-30T00:00:00.000Z'],
    [31, 'UTC', '2026-12-31T00:00:00Z', '2026-12-31T00:00:00.000Z', '2027-01-31T00:00:00.000Z'],
    [31, 'UTC', '2026-01-05T00:00:00Z', '2025-12-31T00:00:00.000Z', '2026-01-31T00:00:00.000Z'],
    // Midnight of that day does not exist there: clocks went from 24:00 to 1:00.
    [4, 'America/Sao_Paulo', '2018-11-20T00:00:00Z', '2018-11-04T03:00:00.000Z', '2018-12-04T02:00:00.000Z'],
  ])('day %i in %s: %s lies between %s and %s', (from, zone, at, start, end) => {
    const windows = new CalendarWindow({ unit: 'month', zone, from })
    const ms = Date.parse(at)
    expect(new Date(windows.startOf(ms)).toISOString()).toBe(start)
    expect(new Date(windows.endOf(ms)).toISOString()).toBe(end)
  })
})

describe('windows that begin on a day of the week', () => {
  it.each([
    [1, '2026-11-29T12:00:00Z', '2026-11-23', '2026-11-30'],
    [7, '2026-11-29T12:00:00Z', '2026-11-29', '2026-12-06'],
    [7, '2026-11-28T12:00:00Z', '2026-11-22', '2026-11-29'],
    [4, '2026-01-01T00:00:00Z', '2026-01-01', '2026-01-08'],
    [5, '2026-01-01T00:00:00Z', '2025-12-26', '2026-01-02'],
  ])('%i: %s lies between %s and %s', (from, at, start, end) => {
    const windows = new CalendarWindow({ unit: 'week', zone: 'UTC', from })
    const ms = Date.parse(at)
    expect(new Date(windows.startOf(ms)).toISOString()).toBe(`${start}T00:00:00.000Z`)
    expect(new Date(windows.endOf(ms)).toISOString()).toBe(`${end}T00:00:00.000Z`)
  })
})

describe('windows from any day', () => {
  it.each([1, 2, 3, 4])('are those of the wall calendar, one after another, seed %i', seed => {
    const chance = random(seed)
    for (let turn = 0; turn < 60; turn++) {
      const unit = chance.pick(['month', 'week'] as const)
      const zone = chance.pick(['UTC', 'Europe/Berlin', 'America/New_York', 'Pacific/Apia', 'Asia/Kathmandu'])
      const from = unit === 'month' ? chance.pick([1, 2, 15, 28, 29, 30, 31]) : chance.int(1, 7)
      const spec = { unit, zone, from }
      const windows = new CalendarWindow(spec)
      let ms = chance.int(0, 2_000_000_000) * 1_000
      for (let step = 0; step < 3; step++) {
        const [start, end] = [windows.startOf(ms), windows.endOf(ms)]
        expect(start).toBeLessThanOrEqual(ms)
        expect(calendarWindow(spec, start)).toBe(calendarWindow(spec, ms))
        expect(calendarWindow(spec, end - 1)).toBe(calendarWindow(spec, ms))
        expect(calendarWindow(spec, end)).not.toBe(calendarWindow(spec, ms))
        expect(windows.startOf(end)).toBe(end)
        ms = end
      }
    }
  })
})

describe('the first day of a quota', () => {
  it('is read with the rate', () => {
    expect(parseQuota('1GB/month from day 15')).toMatchObject({ count: 1e9, window: 'month', from: 15 })
    expect(parseQuota('10 per week from Sunday')).toMatchObject({ count: 10, window: 'week', from: 7 })
    expect(parseQuota('10/week from mon')).toMatchObject({ from: 1 })
    expect(parseQuota('10/month').from).toBeUndefined()
  })

  it.each([
    ['10/month from day 32', '"from day 32" is not a day of the month'],
    ['10/month from day 0', '"from day 0" is not a day of the month'],
    ['10/month from monday', '"from monday" is not a day of the month'],
    ['10/week from day 3', '"from day 3" is not a day of the week'],
    ['10/week from someday', '"from someday" is not a day of the week'],
    ['10/day from monday', '"from monday" has no effect here'],
    ['10/year from day 3', '"from day 3" has no effect here'],
    ['10/month from the start', 'is not a rate'],
  ])('%s is refused', (text, message) => {
    expect(() => quota({ name: 'q', quota: text })).toThrow(message)
  })

  it('is refused elsewhere', () => {
    expect(() => limit({ name: 'l', limit: '10/month from day 3' })).toThrow('only a quota has')
    expect(() => quota({ name: 'q', quota: '10/month from day 3', window: 'rolling' })).toThrow(
      'a rolling quota looks back and has no first day',
    )
  })
})
