const MINUTE_MS = 60_000
const DAY_SECONDS = 86_400
/** The last moment a Date can hold. */
const LAST_MS = 8.64e15

const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']

/**
 * The wall clock of one time zone. Intl takes microseconds, so it is asked at most once per clock minute; since 1972
 * no zone has changed its offset within one. Read `second` and `weekday` right after `turn`.
 */
export class LocalClock {
  /** Seconds since local midnight by the wall clock, 0 to 86399. */
  second = 0
  /** 0 is Sunday. */
  weekday = 0
  #minute = Number.NaN
  #minuteSecond = 0
  #minuteWeekday = 0
  readonly #format: Intl.DateTimeFormat

  constructor(format: Intl.DateTimeFormat) {
    this.#format = format
  }

  /** Turns the clock to a moment; false where that is no time at all. */
  turn(nowMs: number): boolean {
    const minute = Math.floor(nowMs / MINUTE_MS)
    if (minute !== this.#minute) {
      if (!(Math.abs(nowMs) <= LAST_MS - MINUTE_MS)) return false
      this.#resolve(minute)
    }
    this.second = this.#minuteSecond + Math.floor((nowMs - minute * MINUTE_MS) / 1000)
    this.weekday = this.#minuteWeekday
    // Old offsets have seconds (Liberia's until 1972), so local midnight may fall within a minute.
    if (this.second >= DAY_SECONDS) {
      this.second -= DAY_SECONDS
      this.weekday = (this.weekday + 1) % 7
    }
    return true
  }

  #resolve(minute: number): void {
    let second = 0
    for (const { type, value } of this.#format.formatToParts(minute * MINUTE_MS)) {
      if (type === 'hour') second += Number(value) * 3600
      else if (type === 'minute') second += Number(value) * 60
      else if (type === 'second') second += Number(value)
      else if (type === 'weekday') this.#minuteWeekday = WEEKDAYS.indexOf(value)
    }
    this.#minuteSecond = second
    this.#minute = minute
  }
}

/** One clock per zone for the whole process; Intl knows some 600 zones, which bounds it. */
const clocks = new Map<string, LocalClock>()

/** The shared clock of an IANA zone, in whatever case it is written; undefined where there is no such zone. */
export function localClock(zone: string): LocalClock | undefined {
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      weekday: 'short',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    })
  } catch {
    return undefined
  }
  const name = format.resolvedOptions().timeZone
  let clock = clocks.get(name)
  if (!clock) {
    clock = new LocalClock(format)
    clocks.set(name, clock)
  }
  return clock
}
