import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { TwoGenerationCache } from '../core/two-generation-cache.ts'

export type CalendarUnit = 'day' | 'week' | 'month' | 'year'

/** Calendar windows: days, weeks, months or years of a time zone. */
export interface CalendarSpec {
  readonly unit: CalendarUnit
  readonly zone: string
  /** First day: of a month from 1 (shorter months begin on their last day), of a week from 1 for Monday. Default: 1. */
  readonly from?: number | undefined
}

const DAY_MS = 86_400_000
/** Upper bound of a zone's offset from UTC, and of a change of it. */
const FARTHEST_ZONE_MS = 16 * 3_600_000

interface LocalDate {
  readonly year: number
  readonly month: number
  readonly day: number
}

/**
 * Calendar windows of one time zone. Caches the last two windows, so that Intl is used once per window and
 * not per message, even if a sweep looks at yesterday's keys after midnight.
 */
export class CalendarWindow {
  readonly unit: CalendarUnit
  readonly zone: string
  readonly from: number
  readonly #format: Intl.DateTimeFormat
  #startMs = 0
  #endMs = 0
  #otherStartMs = 0
  #otherEndMs = 0

  /** Throws PolicyError if Intl does not know the zone. */
  constructor({ unit, zone, from = 1 }: CalendarSpec) {
    this.unit = unit
    this.zone = zone
    this.from = from
    const last = { day: 1, week: 7, month: 31, year: 1 }[unit]
    if (!(Number.isInteger(from) && from >= 1 && from <= last))
      throw policyError(
        'quota',
        `${from} is not a day on which a ${unit} can begin`,
        'write from day 15, or from monday',
      )
    this.#format = formatOf(zone)
  }

  /** Identifies the windows in keys and comparisons, as in `month+15 Europe/Berlin`. */
  get id(): string {
    return `${this.unit}${this.from === 1 ? '' : `+${this.from}`} ${this.zone}`
  }

  /** Returns the first millisecond of the window that contains a time. */
  startOf(moment: number): number {
    if (moment < this.#startMs || moment >= this.#endMs) this.#switchTopic(moment)
    return this.#startMs
  }

  /** Returns the first millisecond after the window that contains a time. */
  endOf(moment: number): number {
    if (moment < this.#startMs || moment >= this.#endMs) this.#switchTopic(moment)
    return this.#endMs
  }

  #switchTopic(moment: number): void {
    const [startMs, endMs] = [this.#otherStartMs, this.#otherEndMs]
    this.#otherStartMs = this.#startMs
    this.#otherEndMs = this.#endMs
    this.#startMs = startMs
    this.#endMs = endMs
    if (moment < startMs || moment >= endMs) this.#seek(moment)
  }

  #seek(moment: number): void {
    const first = firstDay(this.#dateOf(moment), this.unit, this.from)
    this.#startMs = this.#midnightOf(first)
    this.#endMs = this.#midnightOf(firstOfNext(first, this.unit, this.from))
  }

  #dateOf(moment: number): LocalDate {
    const date = { year: 0, month: 0, day: 0 }
    let beforeChrist = false
    for (const part of this.#format.formatToParts(moment)) {
      if (part.type === 'year' || part.type === 'month' || part.type === 'day')
        date[part.type] = Number(part.value)
      else if (part.type === 'era') beforeChrist = part.value.startsWith('B')
    }
    if (beforeChrist) date.year = 1 - date.year
    return date
  }

  /** Returns the first millisecond of a local date by bisection, even if a clock change skips midnight. */
  #midnightOf(wanted: LocalDate): number {
    const target = dayNumber(wanted)
    let before = target * DAY_MS - FARTHEST_ZONE_MS
    let after = target * DAY_MS + FARTHEST_ZONE_MS
    while (after - before > 1) {
      const middle = Math.floor((before + after) / 2)
      if (dayNumber(this.#dateOf(middle)) < target) before = middle
      else after = middle
    }
    return after
  }
}

/** Formats by zone. Creating one takes 100 µs, and most quotas of a policy share a zone. */
const FORMATS = new TwoGenerationCache<Intl.DateTimeFormat>({
  maxEntries: MAX_SIZES.zoneFormats,
  maxKeyChars: MAX_SIZES.zoneNameChars,
  maxTotalChars: MAX_SIZES.zoneFormats * MAX_SIZES.zoneNameChars,
})

/** Returns the format of local dates in a zone. Throws PolicyError if Intl does not know the zone. */
function formatOf(zone: string): Intl.DateTimeFormat {
  const known = FORMATS.get(zone)
  if (known !== undefined) return known
  try {
    const format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      calendar: 'gregory',
      era: 'narrow',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
    })
    FORMATS.set(zone, format)
    return format
  } catch {
    throw policyError('zone', `unknown time zone "${zone}"`, 'use an IANA name such as Europe/Berlin')
  }
}

/** Returns the days since 1970-01-01 in the proleptic Gregorian calendar. Normalises month 13 and day 32. */
function dayNumber(date: LocalDate): number {
  return Date.UTC(date.year, date.month - 1, date.day) / DAY_MS
}

function firstDay(date: LocalDate, unit: CalendarUnit, from: number): LocalDate {
  switch (unit) {
    case 'day':
      return date
    case 'week': {
      const weekday = (new Date(dayNumber(date) * DAY_MS).getUTCDay() + 7 - (from % 7)) % 7
      return { ...date, day: date.day - weekday }
    }
    case 'month': {
      const first = dayOfMonth(date.year, date.month, from)
      return date.day >= first.day ? first : dayOfMonth(date.year, date.month - 1, from)
    }
    case 'year':
      return { ...date, month: 1, day: 1 }
  }
}

function firstOfNext(first: LocalDate, unit: CalendarUnit, from: number): LocalDate {
  switch (unit) {
    case 'day':
      return { ...first, day: first.day + 1 }
    case 'week':
      return { ...first, day: first.day + 7 }
    case 'month':
      return dayOfMonth(first.year, first.month + 1, from)
    case 'year':
      return { ...first, year: first.year + 1 }
  }
}

/** Returns a day of a month, or the last day of a shorter month. Months 0 and 13 belong to the adjacent years. */
function dayOfMonth(year: number, month: number, day: number): LocalDate {
  const days = new Date(Date.UTC(year, month, 0)).getUTCDate()
  return { year, month, day: Math.min(day, days) }
}
