const MINUTE_MS = 60_000
const DAY_SECONDS = 86_400
/** Last time that a Date can hold. */
const LAST_MS = 8.64e15

const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']

/**
 * Local clock of a time zone. Calls Intl, which takes microseconds, at most once per clock minute; since 1972
 * no zone has changed its offset within one. Read `secondOfDay` and `weekday` right after
 * `setTime`.
 */
export class ZonedClock {
  /** Seconds since local midnight, 0 to 86399. */
  secondOfDay = 0
  /** 0 is Sunday. */
  weekday = 0
  #minute = Number.NaN
  #minuteSecond = 0
  #minuteWeekday = 0
  readonly #format: Intl.DateTimeFormat

  constructor(format: Intl.DateTimeFormat) {
    this.#format = format
  }

  /** Sets the clock to a time. Returns false if it is not a valid time. */
  setTime(nowMs: number): boolean {
    const minute = Math.floor(nowMs / MINUTE_MS)
    if (minute !== this.#minute) {
      if (!(Math.abs(nowMs) <= LAST_MS - MINUTE_MS)) return false
      this.#resolve(minute)
    }
    this.secondOfDay = this.#minuteSecond + Math.floor((nowMs - minute * MINUTE_MS) / 1000)
    this.weekday = this.#minuteWeekday
    // Old offsets have seconds (Liberia's until 1972), so local midnight may fall within a minute.
    if (this.secondOfDay >= DAY_SECONDS) {
      this.secondOfDay -= DAY_SECONDS
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

/** One clock per zone for the whole process, bounded by the 600 or so zones of Intl. */
const clocks = new Map<string, ZonedClock>()

/** Returns the shared clock of an IANA zone, in any case; undefined if there is no such zone. */
export function getZonedClock(zone: string): ZonedClock | undefined {
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
    clock = new ZonedClock(format)
    clocks.set(name, clock)
  }
  return clock
}
