import { policyError } from '../errors.ts'

export type CalendarUnit = 'day' | 'week' | 'month' | 'year'

const DAY_MS = 86_400_000
/** No zone is farther from UTC than this, and no offset changes by more. */
const FARTHEST_ZONE_MS = 16 * 3_600_000

interface LocalDate {
  readonly year: number
  readonly month: number
  readonly day: number
}

/**
 * The calendar windows of one zone. Remembers the two windows asked for last: a border is sought through Intl once
 * a window, never once a message, also after midnight while a sweep looks at yesterday's keys between messages.
 */
export class CalendarWindow {
  readonly unit: CalendarUnit
  readonly zone: string
  readonly #format: Intl.DateTimeFormat
  #startMs = 0
  #endMs = 0
  #otherStartMs = 0
  #otherEndMs = 0

  /** Throws PolicyError for a zone that Intl does not know. */
  constructor(unit: CalendarUnit, zone: string) {
    this.unit = unit
    this.zone = zone
    try {
      this.#format = new Intl.DateTimeFormat('en-US', {
        timeZone: zone,
        calendar: 'gregory',
        era: 'narrow',
        year: 'numeric',
        month: 'numeric',
        day: 'numeric',
      })
    } catch {
      throw policyError('zone', `unknown time zone "${zone}"`, 'use an IANA name such as Europe/Berlin')
    }
  }

  /** The first millisecond of the window that holds a moment. */
  startOf(moment: number): number {
    if (moment < this.#startMs || moment >= this.#endMs) this.#turnTo(moment)
    return this.#startMs
  }

  /** The first millisecond after the window that holds a moment. */
  endOf(moment: number): number {
    if (moment < this.#startMs || moment >= this.#endMs) this.#turnTo(moment)
    return this.#endMs
  }

  #turnTo(moment: number): void {
    const [startMs, endMs] = [this.#otherStartMs, this.#otherEndMs]
    this.#otherStartMs = this.#startMs
    this.#otherEndMs = this.#endMs
    this.#startMs = startMs
    this.#endMs = endMs
    if (moment < startMs || moment >= endMs) this.#seek(moment)
  }

  #seek(moment: number): void {
    const first = firstDay(this.#dateOf(moment), this.unit)
    this.#startMs = this.#midnightOf(first)
    this.#endMs = this.#midnightOf(firstOfNext(first, this.unit))
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

  /** The first moment of a local date, also where a clock change swallows midnight: found by halving. */
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

/** Days since 1970-01-01 of the proleptic Gregorian calendar; also normalises month 13 and day 32. */
function dayNumber(date: LocalDate): number {
  return Date.UTC(date.year, date.month - 1, date.day) / DAY_MS
}

function firstDay(date: LocalDate, unit: CalendarUnit): LocalDate {
  switch (unit) {
    case 'day':
      return date
    case 'week': {
      const weekday = (new Date(dayNumber(date) * DAY_MS).getUTCDay() + 6) % 7
      return { ...date, day: date.day - weekday }
    }
    case 'month':
      return { ...date, day: 1 }
    case 'year':
      return { ...date, month: 1, day: 1 }
  }
}

function firstOfNext(first: LocalDate, unit: CalendarUnit): LocalDate {
  switch (unit) {
    case 'day':
      return { ...first, day: first.day + 1 }
    case 'week':
      return { ...first, day: first.day + 7 }
    case 'month':
      return { ...first, month: first.month + 1 }
    case 'year':
      return { ...first, year: first.year + 1 }
  }
}
