import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileCondition } from '../../../src/conditions/compile.ts'
import type { ConditionSpec } from '../../../src/conditions/condition.ts'
import { parseDays, parseTimeRange } from '../../../src/conditions/time-range.ts'
import { ZonedClock } from '../../../src/conditions/zoned-time.ts'
import { holds, messageWith, pathsOf, problemsOf } from './conditions.ts'

const SEEDED = { seed: 41, numRuns: 300 }
const at = (iso: string): number => {
  const ms = Date.parse(iso)
  if (Number.isNaN(ms)) throw new Error(`${iso} is no time`)
  return ms
}
const holdsAt = (spec: ConditionSpec, iso: string): boolean => holds(spec, {}, at(iso))

/** The minutes from one moment to another at which a condition holds. */
function minutesHeld(spec: ConditionSpec, from: string, to: string): number {
  const condition = compileCondition(spec)
  const message = messageWith()
  const end = at(to)
  let held = 0
  for (let ms = at(from); ms < end; ms += 60_000) if (condition(message, ms)) held++
  return held
}

describe('a time range', () => {
  it('includes its start and excludes its end', () => {
    const spec = { time: '08:00-17:00' }
    expect(holdsAt(spec, '2026-05-04T07:59:59.999Z')).toBe(false)
    expect(holdsAt(spec, '2026-05-04T08:00:00.000Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-04T16:59:59.999Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-04T17:00:00.000Z')).toBe(false)
  })

  it('supports seconds', () => {
    const spec = { time: '08:00:30-08:00:31' }
    expect(holdsAt(spec, '2026-05-04T08:00:29.999Z')).toBe(false)
    expect(holdsAt(spec, '2026-05-04T08:00:30.000Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-04T08:00:30.999Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-04T08:00:31.000Z')).toBe(false)
  })

  it('spans midnight if its end is earlier than its start', () => {
    const spec = { time: '22:00-06:00' }
    expect(holdsAt(spec, '2026-05-04T21:59:59.999Z')).toBe(false)
    expect(holdsAt(spec, '2026-05-04T22:00:00Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-05T00:00:00Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-05T05:59:59.999Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-05T06:00:00Z')).toBe(false)
  })

  it('reaches the end of the day with 24:00 as with 00:00', () => {
    for (const time of ['22:00-24:00', '22:00-00:00']) {
      expect(holdsAt({ time }, '2026-05-04T23:59:59.999Z')).toBe(true)
      expect(holdsAt({ time }, '2026-05-05T00:00:00Z')).toBe(false)
      expect(holdsAt({ time, days: 'mon' }, '2026-05-04T23:00:00Z')).toBe(true)
      expect(holdsAt({ time, days: 'mon' }, '2026-05-05T23:00:00Z')).toBe(false)
    }
  })

  it('spans a whole day from its start if both ends are equal', () => {
    const spec = { time: '06:00-06:00', days: 'mon' }
    expect(holdsAt({ time: '06:00-06:00' }, '2026-05-04T05:00:00Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-04T05:59:59.999Z')).toBe(false)
    expect(holdsAt(spec, '2026-05-04T06:00:00Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-05T05:59:59.999Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-05T06:00:00Z')).toBe(false)
  })

  it('counts the hours after midnight of an overnight range to the day it began on', () => {
    const spec = { time: '22:00-06:00', days: 'fri' }
    expect(holdsAt(spec, '2026-05-08T03:00:00Z')).toBe(false) // Friday morning belongs to Thursday
    expect(holdsAt(spec, '2026-05-08T22:00:00Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-09T05:59:59Z')).toBe(true) // Saturday morning belongs to Friday
    expect(holdsAt(spec, '2026-05-09T22:00:00Z')).toBe(false)
  })

  it('carries an overnight range of Saturday into Sunday, and of Sunday into Monday', () => {
    const night = '23:00-01:00'
    expect(holdsAt({ time: night, days: 'sat' }, '2026-05-10T00:30:00Z')).toBe(true)
    expect(holdsAt({ time: night, days: 'sat' }, '2026-05-11T00:30:00Z')).toBe(false)
    expect(holdsAt({ time: night, days: 'sun' }, '2026-05-11T00:30:00Z')).toBe(true)
    expect(holdsAt({ time: night, days: 'sun' }, '2026-05-10T00:30:00Z')).toBe(false)
  })

  it('applies days alone to whole local days', () => {
    const spec = { days: 'sat,sun', zone: 'Asia/Tokyo' }
    expect(holdsAt(spec, '2026-05-08T14:59:59.999Z')).toBe(false) // 23:59:59 on Friday in Tokyo
    expect(holdsAt(spec, '2026-05-08T15:00:00Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-10T14:59:59.999Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-10T15:00:00Z')).toBe(false)
  })

  it('uses the local time of its zone, even if the offset is not a whole hour', () => {
    expect(holdsAt({ time: '12:00-12:01', zone: 'Asia/Kathmandu' }, '2026-05-04T06:15:00Z')).toBe(true)
    expect(holdsAt({ time: '12:00-12:01', zone: 'Asia/Kathmandu' }, '2026-05-04T12:00:00Z')).toBe(false)
    expect(holdsAt({ time: '12:00-12:01', zone: 'america/new_york' }, '2026-05-04T16:00:00Z')).toBe(true)
  })

  it('works for two zones evaluated alternately', () => {
    const spec: ConditionSpec = {
      all: [
        { time: '10:00-11:00' },
        { time: '12:00-13:00', zone: 'Europe/Berlin' },
        { not: { time: '12:00-13:00' } },
      ],
    }
    expect(holdsAt(spec, '2026-05-04T10:30:00Z')).toBe(true)
    expect(holdsAt(spec, '2026-05-04T11:30:00Z')).toBe(false)
  })

  it('works with a clock that jumps back and forth', () => {
    const spec = { time: '08:00-09:00', days: 'mon' }
    for (const day of ['2026-05-04', '2025-05-05', '1970-01-05', '2026-05-04']) {
      expect(holdsAt(spec, `${day}T08:30:00Z`)).toBe(true)
      expect(holdsAt(spec, `${day}T09:30:00Z`)).toBe(false)
    }
  })

  it('finds midnight within a minute where an old offset has seconds', () => {
    // Liberia was 44 min 30 s behind until 1972: its Thursday began 30 s into a minute.
    const spec = { time: '00:00-00:01', days: 'thu', zone: 'Africa/Monrovia' }
    expect(holdsAt(spec, '1970-01-01T00:44:29.999Z')).toBe(false)
    expect(holdsAt(spec, '1970-01-01T00:44:30.000Z')).toBe(true)
    expect(holdsAt(spec, '1970-01-01T00:45:29.999Z')).toBe(true)
    expect(holdsAt(spec, '1970-01-01T00:45:30.000Z')).toBe(false)
  })

  it('matches no invalid time, whatever was evaluated before', () => {
    expect(holdsAt({ days: 'mon-sun' }, '2026-05-04T08:30:00Z')).toBe(true)
    for (const nowMs of [Number.NaN, Infinity, -Infinity, 8.64e15 + 1, 1e300]) {
      expect(holds({ days: 'mon-sun' }, {}, nowMs)).toBe(false)
    }
  })
})

describe('daylight saving', () => {
  const zone = 'Europe/Berlin'

  it('never enters a range in the skipped hour of Berlin', () => {
    const spec = { time: '02:15-02:45', zone }
    expect(minutesHeld(spec, '2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z')).toBe(0)
    expect(minutesHeld(spec, '2026-03-29T22:00:00Z', '2026-03-30T22:00:00Z')).toBe(30)
  })

  it('starts and ends ranges by local time on the day Berlin springs forward', () => {
    expect(holdsAt({ time: '03:00-04:00', zone }, '2026-03-29T00:59:59.999Z')).toBe(false)
    expect(holdsAt({ time: '03:00-04:00', zone }, '2026-03-29T01:00:00Z')).toBe(true)
    expect(minutesHeld({ time: '22:00-06:00', zone }, '2026-03-28T12:00:00Z', '2026-03-29T12:00:00Z')).toBe(
      7 * 60,
    )
    expect(minutesHeld({ days: 'sun', zone }, '2026-03-28T00:00:00Z', '2026-03-31T00:00:00Z')).toBe(23 * 60)
  })

  it('passes twice through a range in the repeated hour of Berlin', () => {
    const spec = { time: '02:15-02:45', zone }
    expect(holdsAt(spec, '2026-10-25T00:30:00Z')).toBe(true)
    expect(holdsAt(spec, '2026-10-25T00:50:00Z')).toBe(false)
    expect(holdsAt(spec, '2026-10-25T01:30:00Z')).toBe(true)
    expect(minutesHeld(spec, '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z')).toBe(60)
    expect(minutesHeld({ time: '22:00-06:00', zone }, '2026-10-24T12:00:00Z', '2026-10-25T12:00:00Z')).toBe(
      9 * 60,
    )
    expect(minutesHeld({ days: 'sun', zone }, '2026-10-24T00:00:00Z', '2026-10-27T00:00:00Z')).toBe(25 * 60)
  })

  it('keeps the day an overnight range began on through both changes of Berlin', () => {
    const spec = { time: '22:00-06:00', days: 'sat', zone }
    expect(minutesHeld(spec, '2026-03-27T00:00:00Z', '2026-03-31T00:00:00Z')).toBe(7 * 60)
    expect(minutesHeld(spec, '2026-10-23T00:00:00Z', '2026-10-27T00:00:00Z')).toBe(9 * 60)
  })

  it('handles the first hour of a Sunday that Sao Paulo skipped', () => {
    const sunday = { days: 'sun', zone: 'America/Sao_Paulo' }
    expect(
      minutesHeld({ ...sunday, time: '00:00-01:00' }, '2018-11-03T00:00:00Z', '2018-11-06T00:00:00Z'),
    ).toBe(0)
    expect(holdsAt(sunday, '2018-11-04T02:59:59.999Z')).toBe(false)
    expect(holdsAt(sunday, '2018-11-04T03:00:00Z')).toBe(true)
    expect(minutesHeld(sunday, '2018-11-03T00:00:00Z', '2018-11-06T00:00:00Z')).toBe(23 * 60)
  })

  it('handles the last hour of a Saturday that Sao Paulo repeated, and no daylight saving in 2026', () => {
    const spec = { time: '23:00-24:00', days: 'sat', zone: 'America/Sao_Paulo' }
    expect(minutesHeld(spec, '2018-02-17T12:00:00Z', '2018-02-18T12:00:00Z')).toBe(120)
    expect(minutesHeld(spec, '2026-02-14T12:00:00Z', '2026-02-15T12:00:00Z')).toBe(60)
    expect(holdsAt(spec, '2026-02-15T02:30:00Z')).toBe(true)
  })
})

describe('the local clock', () => {
  it('calls Intl once per clock minute, however often it is used', () => {
    let asked = 0
    class CountedFormat extends Intl.DateTimeFormat {
      override formatToParts(date?: Date | number): Intl.DateTimeFormatPart[] {
        asked++
        return super.formatToParts(date)
      }
    }
    const clock = new ZonedClock(
      new CountedFormat('en-US', {
        hourCycle: 'h23',
        weekday: 'short',
        hour: '2-digit',
        minute: '2-digit',
        second: '2-digit',
        timeZone: 'UTC',
      }),
    )
    const start = at('2026-05-04T08:00:00Z')
    for (let ms = 0; ms < 60_000; ms += 100) clock.setTime(start + ms)
    expect(asked).toBe(1)
    expect(clock.secondOfDay).toBe(8 * 3600 + 59)
    clock.setTime(start + 60_000)
    expect(asked).toBe(2)
    expect(clock.secondOfDay).toBe(8 * 3600 + 60)
  })

  it('agrees with plain arithmetic in UTC, before 1970 too', () => {
    const times = fc.integer({ min: -4_000_000_000_000, max: 32_000_000_000_000 })
    const seconds = fc.integer({ min: 0, max: 86_399 })
    const write = (second: number): string =>
      [Math.floor(second / 3600), Math.floor(second / 60) % 60, second % 60]
        .map(part => String(part).padStart(2, '0'))
        .join(':')
    fc.assert(
      fc.property(times, seconds, seconds, fc.integer({ min: 0, max: 6 }), (nowMs, from, to, day) => {
        const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'][day]!
        const elapsed = (Math.floor(nowMs / 1000) - from) % 86_400
        const sinceStart = (elapsed + 86_400) % 86_400
        const length = (to - from + 86_400) % 86_400 || 86_400
        const began = new Date(Math.floor(nowMs / 1000) * 1000 - sinceStart * 1000)
        const expected = sinceStart < length && began.getUTCDay() === day
        expect(holds({ time: `${write(from)}-${write(to)}`, days }, {}, nowMs)).toBe(expected)
      }),
      SEEDED,
    )
  })
})

describe('the properties of a time condition', () => {
  it.each([
    ['22:00-06:00', 79_200, 21_600],
    [' 8:05 - 9:30:15 ', 29_100, 34_215],
    ['00:00-24:00', 0, 86_400],
    ['23:59:59-00:00', 86_399, 0],
  ])('reads %j', (text, fromSecond, toSecond) => {
    expect(parseTimeRange(text)).toEqual({ fromSecond, toSecond })
  })

  it.each([
    ['mon-fri', 0b011_1110],
    ['sat,sun', 0b100_0001],
    ['fri-mon', 0b110_0011],
    ['Mon - Wed, FRIDAY', 0b010_1110],
    ['mon-mon', 0b000_0010],
    ['sun-sat', 0b111_1111],
  ])('reads %j', (text, bits) => {
    expect(parseDays(text)).toBe(bits)
  })

  it('accepts a list of days like days with commas', () => {
    const monday = '2026-05-04T08:00:00Z'
    expect(holdsAt({ days: ['mon', 'thu-fri'] }, monday)).toBe(true)
    expect(holdsAt({ days: ['tue', 'thu-fri'] }, monday)).toBe(false)
  })

  it.each([
    '',
    '22:00',
    '22:00-',
    '-06:00',
    '22-06',
    '25:00-06:00',
    '22:60-06:00',
    '22:00:60-06:00',
    '24:00-06:00',
    '00:00-24:01',
    '22:00-06:00-07:00',
    '22:0-06:00',
    '１２:00-13:00',
    `${' '.repeat(300)}22:00-06:00`,
  ])('refuses %j as a time', time => {
    const [problem, ...others] = problemsOf({ time })
    expect(problem?.path).toBe('when.time')
    expect(problem?.remedy).toContain('22:00-06:00')
    expect(others).toEqual([])
  })

  it.each([
    '',
    'mo',
    'mon-',
    '-fri',
    'mon--fri',
    'mon,,fri',
    'mon-wed-fri',
    'mon;fri',
    '1-5',
    'weekend',
    5,
    null,
  ])('refuses %j as days', days => {
    const [problem, ...others] = problemsOf({ days })
    expect(problem?.path).toBe('when.days')
    expect(problem?.remedy).toContain('mon-fri')
    expect(others).toEqual([])
  })

  it.each(['Europe/Berlim', '', 'CEST+2', 2, null])('refuses %j as a zone', zone => {
    const [problem, ...others] = problemsOf({ time: '22:00-06:00', zone })
    expect(problem?.path).toBe('when.zone')
    expect(problem?.remedy).toContain('Europe/Berlin')
    expect(others).toEqual([])
  })

  it('reports the position of an invalid day in a list, and refuses an empty list', () => {
    expect(pathsOf({ days: ['mon', 'dienstag', 3] })).toEqual(['when.days[1]', 'when.days[2]'])
    expect(pathsOf({ days: [] })).toEqual(['when.days'])
  })

  it('refuses a zone without time or days in the same object', () => {
    expect(problemsOf({ zone: 'Europe/Berlin', qos: 1 })).toEqual([
      {
        path: 'when.zone',
        message: 'a zone without time or days has no effect',
        remedy: 'give time or days beside it, in the same object',
      },
    ])
  })
})
