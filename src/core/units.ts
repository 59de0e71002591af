import { policyError } from './errors.ts'

/** A parsed rate. */
export interface Rate {
  /** Whole units per period; `Infinity` for `unlimited`. */
  readonly count: number
  /** Whole milliseconds; a month is 30 days and a year 365. */
  readonly periodMs: number
  /** Whole units of `burst N`. */
  readonly burst?: number | undefined
  /** True if the units are bytes, as in `1MB/s`. */
  readonly bytes: boolean
  /** Calendar unit of the period, if it is exactly one: `/day`, `per month`. */
  readonly window?: 'day' | 'week' | 'month' | 'year' | undefined
  /** First day of windows, as in `from day 15` or `from sunday`: of a month from 1, of a week from 1 for Monday. */
  readonly from?: number | undefined
  /** Scope words of a trailing `per device`, joined by commas without spaces. */
  readonly per?: string | undefined
}

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

interface TimeUnit {
  readonly ms: number
  /** Short form used in remedies. */
  readonly short: string
  readonly window?: 'day' | 'week' | 'month' | 'year' | undefined
}

const TIME_UNITS: ReadonlyMap<string, TimeUnit> = new Map(
  (
    [
      [{ ms: 1, short: 'ms' }, 'ms millisecond milliseconds'],
      [{ ms: SECOND, short: 's' }, 's sec secs second seconds'],
      [{ ms: MINUTE, short: 'm' }, 'm min mins minute minutes'],
      [{ ms: HOUR, short: 'h' }, 'h hr hrs hour hours'],
      [{ ms: DAY, short: 'd', window: 'day' }, 'd day days'],
      [{ ms: 7 * DAY, short: ' weeks', window: 'week' }, 'w week weeks'],
      [{ ms: 30 * DAY, short: ' months', window: 'month' }, 'month months'],
      [{ ms: 365 * DAY, short: ' years', window: 'year' }, 'y year years'],
    ] as const
  ).flatMap(([unit, words]) => words.split(' ').map(word => [word, unit] as const)),
)

const MULTIPLES: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ...['k', 'M', 'G', 'T'].flatMap((letter, index) => [
    [letter, 1000 ** (index + 1)] as const,
    [`${letter === 'k' ? 'K' : letter}i`, 1024 ** (index + 1)] as const,
  ]),
  ['K', 1000],
  ['ki', 1024],
])

/** Maximum length of a text with a unit; keeps messages short and patterns fast. */
const MOST_CHARS = 200

const DURATION_REMEDY = 'write a number and a unit, as 250ms, 30s, 5m, 1h or 7d'
const BYTES_REMEDY = 'write a whole number of bytes, or 10kB, 1MB (k = 1000), 64KiB (Ki = 1024)'
const RATE_REMEDY =
  'write it as 10/s, 100 per minute, 5 per 5 minutes, 1MB/s or unlimited, each with an optional burst N'
const PERCENT_REMEDY = 'write a number above 0 and up to 100 with a percent sign, as 80%'

/**
 * Parses a duration such as `250ms`, `30s`, `5m`, `1h`, `7d` or `5 minutes`. Returns whole milliseconds, at
 * least 1. Throws PolicyError.
 */
export function parseDuration(text: string): number {
  const match = read(text, /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/)
  if (!match) throw policyError('', `${quote(text)} is not a duration`, DURATION_REMEDY)
  const [, digits = '', word = ''] = match
  if (word === '') {
    throw policyError('', `the duration ${quote(text)} has no unit`, `write ${digits}ms or ${digits}s`)
  }
  const ms = scaled(digits, timeUnit(word).ms)
  if (ms === undefined) {
    throw policyError('', `${quote(text)} is not a whole number of milliseconds`, DURATION_REMEDY)
  }
  if (ms === 0) throw policyError('', 'a duration of 0 has no meaning here', 'write at least 1ms')
  return ms
}

const MOMENT = /^(\d{4}-\d{2}-\d{2})(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2}))?$/
const MOMENT_REMEDY = 'write it as 2026-01-31T12:00:00Z, or +01:00 instead of Z'

/**
 * Parses a date, which begins at midnight UTC, or a date and time with its zone, of the years 1970 to 9999. Returns
 * milliseconds since the epoch. Throws PolicyError, also for a time without a zone, which would depend on the machine.
 */
export function parseMoment(text: string): number {
  const date = MOMENT.exec(text)?.[1]
  const atMs = date === undefined ? Number.NaN : Date.parse(text)
  // Date.parse takes February 30 for March 2.
  const isDay = date !== undefined && !Number.isNaN(atMs) && new Date(date).toISOString().startsWith(date)
  if (!isDay || atMs < 0) throw policyError('', `${quote(text)} is not a moment`, MOMENT_REMEDY)
  return atMs
}

/**
 * Parses a size: a number, `1MB`, `10kB` (k = 1000) or `64KiB` (Ki = 1024). Returns whole bytes, at least 0.
 * Throws PolicyError.
 */
export function parseBytes(text: string | number): number {
  if (typeof text === 'number') {
    if (Number.isSafeInteger(text) && text >= 0) return text
    throw policyError('', `${text} is not a number of bytes`, BYTES_REMEDY)
  }
  const match = read(text, /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/)
  const size = match && units(match[1] ?? '', match[2] ?? '')
  if (!size) throw policyError('', `${quote(text)} is not a number of bytes`, BYTES_REMEDY)
  if (size.count === undefined)
    throw policyError('', `${quote(text)} is not a whole number of bytes`, BYTES_REMEDY)
  return size.count
}

const BYTE_UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const

/** Returns a size with three digits: `256 kB`, `1.5 MB`. */
export function formatBytes(bytes: number): string {
  const power = Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  return `${Number((bytes / 1_000 ** power).toPrecision(3))} ${BYTE_UNITS[power]}`
}

const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']

/** Parses the rate of a quota, which may have a first day, as in `1GB/month from day 15`. Throws PolicyError. */
export function parseQuota(text: string): Rate {
  const match = read(text, /^(.*?)\s+from\s+(?:day\s+(\d{1,4})|([A-Za-z]{3,9}))((?:\s.*)?)$/)
  if (!match) return parseRate(text)
  const [, before = '', digits, word = '', after = ''] = match
  const rate = parseRate(before + after)
  const written = quote(`from ${digits === undefined ? word : `day ${digits}`}`)
  if (rate.window === 'month') {
    const day = Number(digits)
    if (day >= 1 && day <= 31) return { ...rate, from: day }
    throw policyError('', `${written} is not a day of the month`, 'write from day 1 to from day 31')
  }
  if (rate.window === 'week') {
    const index = WEEKDAYS.findIndex(
      name => name === word.toLowerCase() || name.slice(0, 3) === word.toLowerCase(),
    )
    if (index >= 0) return { ...rate, from: index + 1 }
    throw policyError('', `${written} is not a day of the week`, 'write from monday, or from another weekday')
  }
  throw policyError('', `${written} has no effect here`, 'only months and weeks may begin on another day')
}

/**
 * Parses `10/s`, `100 per minute`, `5 per 5 minutes`, `1MB/s`, `10000/day` or `unlimited`, each with an
 * optional `burst N` and scope words (`5/min per device`). Counts are whole: for `0.5/s` the error suggests
 * `1 per 2s`. Throws PolicyError.
 */
export function parseRate(text: string): Rate {
  const bound = read(text, /^unlimited((?:\s.*)?)$/)
  if (bound) return { count: Infinity, periodMs: SECOND, ...extras(text, bound[1] ?? '', false) }
  const match = read(
    text,
    /^(\d+(?:\.\d+)?)\s*([A-Za-z]*?)\s*(?:\/|\bper\s|(?<=\d)per\s)\s*(?:(\d+(?:\.\d+)?)\s*)?([A-Za-z]+)((?:\s.*)?)$/,
  )
  const amount = match && units(match[1] ?? '', match[2] ?? '')
  if (/\sfrom\s/.test(text))
    throw policyError(
      '',
      `${quote(text)} has a first day`,
      'only a quota has, as quota: 1GB/month from day 15',
    )
  if (!match || !amount) throw policyError('', `${quote(text)} is not a rate`, RATE_REMEDY)
  const [, digits = '', multiple = '', times = '1', word = '', rest = ''] = match
  const unit = timeUnit(word)
  const periodMs = scaled(times, unit.ms)
  if (Number(digits) === 0) {
    throw policyError('', `the rate ${quote(text)} lets nothing pass`, 'use at least 1, as 1 per 1h')
  }
  if (amount.count === undefined) {
    const whole = !digits.includes('.')
    throw policyError(
      '',
      `the rate ${quote(text)} is ${whole ? 'too large' : 'not a whole number'}`,
      whole ? 'the most is 2^53 - 1; write unlimited' : wholeRate(digits, multiple, times, unit),
    )
  }
  if (!periodMs) {
    throw policyError(
      '',
      `the period of ${quote(text)} is not a whole number of milliseconds`,
      'make it at least 1ms',
    )
  }
  const window = Number(times) === 1 ? unit.window : undefined
  return {
    count: amount.count,
    periodMs,
    ...extras(text, rest, amount.bytes),
    window,
  }
}

/** Parses `80%`. Returns a fraction above 0 and up to 1. Throws PolicyError. */
export function parsePercent(text: string): number {
  const match = read(text, /^(\d+(?:\.\d+)?)\s*%$/)
  const percent = Number(match?.[1] ?? Number.NaN)
  if (!(percent > 0 && percent <= 100))
    throw policyError('', `${quote(text)} is not a percentage`, PERCENT_REMEDY)
  return percent / 100
}

/** Parses the words after the period, in any order: `burst N` and `per SCOPE`. */
function extras(text: string, rest: string, rateBytes: boolean): Pick<Rate, 'burst' | 'per' | 'bytes'> {
  let left = rest.trim()
  let bytes = rateBytes
  let burst: number | undefined
  let per: string | undefined
  while (left !== '') {
    const held = /^burst\s+(\d+(?:\.\d+)?)\s*((?!(?:per|burst)\b)[A-Za-z]*)(?=\s|$)\s*/.exec(left)
    const scope = /^per\s+([A-Za-z_][^\s,]*(?:\s*,\s*[A-Za-z_][^\s,]*)*)(?=\s|$)\s*/.exec(left)
    if (held && burst === undefined) {
      const amount = units(held[1] ?? '', held[2] ?? '')
      if (!amount) throw policyError('', `the burst of ${quote(text)} is not a number`, RATE_REMEDY)
      if (!amount.count) {
        throw policyError(
          '',
          `the burst of ${quote(text)} is not a whole number above 0`,
          'write at least burst 1',
        )
      }
      if (amount.bytes && !rateBytes) {
        if (!text.trim().startsWith('unlimited')) {
          throw policyError('', `${quote(text)} counts messages, its burst bytes`, 'give both the same unit')
        }
        bytes = true
      }
      burst = amount.count
      left = left.slice(held[0].length)
    } else if (scope && per === undefined) {
      per = (scope[1] ?? '').replaceAll(/\s+/g, '')
      left = left.slice(scope[0].length)
    } else throw policyError('', `${quote(text)} is not a rate`, RATE_REMEDY)
  }
  return { bytes, burst, per }
}

function timeUnit(word: string): TimeUnit {
  // Single letters are case-sensitive, because M may mean month or minute.
  const unit = TIME_UNITS.get(word.length > 2 ? word.toLowerCase() : word)
  if (unit) return unit
  throw policyError('', `${quote(word)} is not a unit of time`, 'use ms, s, m, h, d, week, month or year')
}

/** Returns undefined if `word` is not a unit. `count` is undefined if it is not whole. */
function units(digits: string, word: string): { count: number | undefined; bytes: boolean } | undefined {
  const bytes = word.endsWith('B') || word === 'bytes' || word === 'byte'
  const multiple = MULTIPLES.get(bytes ? word.replace(/(?:B|bytes?)$/, '') : word)
  return multiple === undefined ? undefined : { count: scaled(digits, multiple), bytes }
}

/**
 * Returns `digits` × `factor` if that is a safe whole number. Calculates in tenths and hundredths, so that
 * 1.1 × 1000 is 1100.
 */
function scaled(digits: string, factor: number): number | undefined {
  if (!digits.includes('.')) {
    const product = Number(digits) * factor
    return Number.isSafeInteger(product) ? product : undefined
  }
  const [whole = '', fraction = ''] = digits.split('.')
  const parts = 10n ** BigInt(fraction.length)
  const product = BigInt(whole + fraction) * BigInt(factor)
  if (product % parts !== 0n) return undefined
  const result = Number(product / parts)
  return Number.isSafeInteger(result) ? result : undefined
}

/** Returns the closest rate in whole units: 1 per 2s for 0.5/s. */
function wholeRate(digits: string, multiple: string, times: string, unit: TimeUnit): string {
  const factor = Number(units('1', multiple)?.count ?? 1)
  for (let n = 2; n <= 1000; n++) {
    const count = scaled(digits, factor * n)
    const period = scaled(times, n)
    if (count && period) return `write ${count} per ${period}${unit.short}`
  }
  return 'write a whole number, over a longer period'
}

function read(text: unknown, pattern: RegExp): RegExpExecArray | null {
  return typeof text === 'string' && text.length <= MOST_CHARS ? pattern.exec(text.trim()) : null
}

/** Returns a value for an error message: text quoted and cut, other values as they are. Never throws. */
export function quote(written: unknown): string {
  if (typeof written === 'string')
    return JSON.stringify(written.length > 60 ? `${written.slice(0, 57)}…` : written)
  if (typeof written === 'object' && written !== null) return Array.isArray(written) ? 'a list' : 'an object'
  return typeof written === 'function' || typeof written === 'symbol'
    ? `a ${typeof written}`
    : String(written)
}
