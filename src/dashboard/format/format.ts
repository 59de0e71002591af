const COUNT = new Intl.NumberFormat('en-US')
const COMPACT = new Intl.NumberFormat('en-US', { notation: 'compact', maximumSignificantDigits: 3 })
const CLOCK = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })
const DATE = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })
const DAY_MS = 86_400_000

/** Returns `12,345`, or `1.23M` from a million on. */
export function formatCount(count: number): string {
  return count >= 1e6 ? COMPACT.format(count) : COUNT.format(Math.round(count))
}

/** Returns `256 kB`, `1.5 MB`. */
export function formatBytes(bytes: number): string {
  const power = Math.min(3, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  return `${Number((bytes / 1_000 ** power).toPrecision(3))} ${['bytes', 'kB', 'MB', 'GB'][power]}`
}

/** Returns units of a limit: `12,345`, or `12.3 kB` of a limit in bytes. */
export function formatUnits(units: number, unit: 'messages' | 'bytes'): string {
  return unit === 'bytes' ? formatBytes(units) : formatCount(units)
}

/** Returns a rate a second: `0.4`, `12`, `1,234`. */
export function formatRate(perSecond: number): string {
  return perSecond > 0 && perSecond < 10 ? String(Math.round(perSecond * 10) / 10) : formatCount(perSecond)
}

/** Returns a part of a whole as `12 %`; `< 0.1 %` for little, but not nothing. */
export function formatShare(part: number, whole: number): string {
  if (whole === 0 || part === 0) return '0 %'
  const percent = (100 * part) / whole
  if (percent < 0.1) return '< 0.1 %'
  if (percent > 99.9 && percent < 100) return '> 99.9 %'
  return `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`
}

const UNITS = [
  ['d', DAY_MS],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const

/** Returns a duration with its two largest units: `250 ms`, `12 s`, `1 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms < 1) return `${Number(ms.toPrecision(2))} ms`
  if (ms < 1_000) return `${Math.round(ms)} ms`
  const first = UNITS.findIndex(([, unitMs]) => ms >= unitMs)
  const [name, unitMs] = UNITS[first]!
  const second = UNITS[first + 1]
  const rest = second === undefined ? 0 : Math.floor((ms % unitMs) / second[1])
  const whole = `${Math.floor(ms / unitMs)} ${name}`
  return rest === 0 ? whole : `${whole} ${rest} ${second![0]}`
}

/** Returns a wait of the API: `never` for null. */
export function formatWait(ms: number | null): string {
  return ms === null ? 'never' : formatDuration(ms)
}

export function formatAgo(atMs: number, nowMs: number): string {
  return nowMs - atMs < 1_000 ? 'now' : `${formatDuration(nowMs - atMs)} ago`
}

/** Returns the time of day; with the date if it is another day. */
export function formatTime(atMs: number, nowMs: number): string {
  const isToday = new Date(atMs).toDateString() === new Date(nowMs).toDateString()
  return (isToday ? CLOCK : DATE).format(atMs)
}
