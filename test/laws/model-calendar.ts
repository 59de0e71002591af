export type CalendarUnit = 'day' | 'week' | 'month' | 'year'

const formats = new Map<string, Intl.DateTimeFormat>()
const known = new Map<string, string>()

/**
 * The name of the calendar window an instant falls in, read off the wall calendar of the zone: two instants share
 * a window when they bear the same local day, Monday-to-Sunday week, month or year.
 */
export function calendarWindow(
  calendar: { readonly unit: CalendarUnit; readonly zone: string; readonly from?: number | undefined },
  ms: number,
): string {
  const { unit, zone, from = 1 } = calendar
  const id = `${unit} ${from} ${zone} ${ms}`
  const found = known.get(id)
  if (found !== undefined) return found
  let format = formats.get(zone)
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      calendar: 'gregory',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
    })
    formats.set(zone, format)
  }
  const date: Record<string, number> = {}
  for (const { type, value } of format.formatToParts(ms)) date[type] = Number(value)
  const name = nameWindow(unit, date.year!, date.month!, date.day!, from)
  if (known.size > 200_000) known.clear()
  known.set(id, name)
  return name
}

function nameWindow(unit: CalendarUnit, year: number, month: number, day: number, from: number): string {
  switch (unit) {
    case 'day':
      return `${year}-${month}-${day}`
    case 'week': {
      // 1 January 1970 was a Thursday; the Monday before it begins week 0.
      const days = Date.UTC(year, month - 1, day) / 86_400_000
      return `week ${Math.floor((days + 4 - from) / 7)} from ${from}`
    }
    case 'month': {
      const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
      const days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]!
      if (day >= Math.min(from, days)) return `${year}-${month} from ${from}`
      return month === 1 ? `${year - 1}-12 from ${from}` : `${year}-${month - 1} from ${from}`
    }
    case 'year':
      return `${year}`
  }
}
