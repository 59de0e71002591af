import type { Problem } from '../core/errors.ts'
import type { Condition } from './condition.ts'
import { type OptionRecord, quote } from './parse-helpers.ts'
import { getZonedClock } from './zoned-time.ts'

/** Seconds of the local day; `fromSecond` inclusive, `toSecond` exclusive. */
export interface TimeRange {
  readonly fromSecond: number
  readonly toSecond: number
}

const DAY_SECONDS = 86_400
const EVERY_DAY = 0b111_1111
const MOST_CHARS = 200

const TIME_REMEDY = 'write it as 22:00-06:00, with seconds if need be; 24:00 only as the end'
const DAYS_REMEDY = 'write mon-fri, sat,sun or fri-mon'
const ZONE_REMEDY = 'write an IANA name, as Europe/Berlin or UTC'

const DAY_NAMES = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday']
const DAY_NUMBERS: ReadonlyMap<string, number> = new Map(
  DAY_NAMES.flatMap((name, day) => [[name, day] as const, [name.slice(0, 3), day] as const]),
)

/** Parses `22:00-06:00` or `08:00:30-24:00`; returns undefined if it is invalid. Equal ends cover a whole day. */
export function parseTimeRange(text: string): TimeRange | undefined {
  if (text.length > MOST_CHARS) return undefined
  const ends = text.split('-')
  const fromSecond = parseTimeOfDay(ends[0] ?? '')
  const toSecond = parseTimeOfDay(ends[1] ?? '')
  if (ends.length !== 2 || fromSecond === undefined || toSecond === undefined) return undefined
  return fromSecond === DAY_SECONDS ? undefined : { fromSecond, toSecond }
}

function parseTimeOfDay(text: string): number | undefined {
  const match = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(text.trim())
  if (!match) return undefined
  const [hours, minutes, seconds] = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)]
  if (minutes > 59 || seconds > 59) return undefined
  const second = hours * 3600 + minutes * 60 + seconds
  return second > DAY_SECONDS ? undefined : second
}

/**
 * Parses `mon-fri`, `sat,sun`, `fri-mon` or `mon-wed,fri` into a bit set, bit 0 for Sunday; returns undefined
 * if it is invalid. Accepts full names and any case.
 */
export function parseDays(text: string): number | undefined {
  if (text.length > MOST_CHARS) return undefined
  let days = 0
  for (const part of text.toLowerCase().split(',')) {
    const ends = part.split('-').map(text => DAY_NUMBERS.get(text.trim()))
    const [first, last = first] = ends
    if (ends.length > 2 || first === undefined || last === undefined || ends.includes(undefined))
      return undefined
    for (let day = first; ; day = (day + 1) % 7) {
      days |= 1 << day
      if (day === last) break
    }
  }
  return days
}

/**
 * Compiles `time`, `days` and `zone` of one object, by the local time of the zone. An hour skipped by
 * daylight saving never occurs, a repeated one occurs twice.
 */
export function compileTimeRange(
  options: OptionRecord,
  path: string,
  problems: Problem[],
): Condition | undefined {
  const before = problems.length
  const range = readTime(options.time, `${path}.time`, problems)
  const days = readDays(options.days, `${path}.days`, problems)
  const clock = readZone(options.zone, `${path}.zone`, problems)
  if (options.time === undefined && options.days === undefined) {
    problems.push({
      path: `${path}.zone`,
      message: 'a zone without time or days has no effect',
      remedy: 'give time or days beside it, in the same object',
    })
  }
  if (problems.length > before || !clock) return undefined

  const { fromSecond, toSecond } = range
  if (fromSecond < toSecond) {
    return (_message, nowMs) =>
      clock.setTime(nowMs) &&
      clock.secondOfDay >= fromSecond &&
      clock.secondOfDay < toSecond &&
      ((days >> clock.weekday) & 1) === 1
  }
  return (_message, nowMs) => {
    if (!clock.setTime(nowMs)) return false
    if (clock.secondOfDay >= fromSecond) return ((days >> clock.weekday) & 1) === 1
    // Before the end of an overnight range, which began the day before.
    return clock.secondOfDay < toSecond && ((days >> ((clock.weekday + 6) % 7)) & 1) === 1
  }
}

const WHOLE_DAY: TimeRange = { fromSecond: 0, toSecond: DAY_SECONDS }

function readTime(time: unknown, path: string, problems: Problem[]): TimeRange {
  if (time === undefined) return WHOLE_DAY
  const range = typeof time === 'string' ? parseTimeRange(time) : undefined
  if (!range) problems.push({ path, message: `${quote(time)} is not a time range`, remedy: TIME_REMEDY })
  return range ?? WHOLE_DAY
}

function readDays(value: unknown, path: string, problems: Problem[]): number {
  if (value === undefined) return EVERY_DAY
  const isList = Array.isArray(value)
  const list: readonly unknown[] = isList ? value : [value]
  if (list.length === 0) problems.push({ path, message: 'the list of days is empty', remedy: DAYS_REMEDY })
  let days = 0
  list.forEach((text, index) => {
    const bits = typeof text === 'string' ? parseDays(text) : undefined
    const valuePath = isList ? `${path}[${index}]` : path
    if (bits === undefined) {
      problems.push({ path: valuePath, message: `${quote(text)} names no days`, remedy: DAYS_REMEDY })
    }
    days |= bits ?? 0
  })
  return days
}

function readZone(zone: unknown, path: string, problems: Problem[]): ReturnType<typeof getZonedClock> {
  const clock =
    zone === undefined ? getZonedClock('UTC') : typeof zone === 'string' ? getZonedClock(zone) : undefined
  if (!clock) problems.push({ path, message: `${quote(zone)} is not a time zone`, remedy: ZONE_REMEDY })
  return clock
}
