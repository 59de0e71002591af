import type { ConditionWords, MessageWords, ValueWords } from './policy.ts'
import { readBytes } from './units.ts'

/** Whether a condition holds for a message at a moment. */
export function holds(words: ConditionWords, message: MessageWords, nowMs: number): boolean {
  const { payload, header, size, qos, retain, will, protocol, all, any, not } = words
  if (words.time !== undefined || words.days !== undefined) {
    if (!isWithin(words, nowMs)) return false
  }
  if (payload !== undefined && !fits(payload, fieldOf(message.payload, payload.field), false)) return false
  if (header !== undefined && !holdsHeader(header, message)) return false
  if (size !== undefined) {
    if (size.min !== undefined && message.size < readBytes(size.min)) return false
    if (size.max !== undefined && message.size > readBytes(size.max)) return false
  }
  if (qos !== undefined && (message.qos === undefined || !qos.includes(message.qos))) return false
  if (retain !== undefined && (message.retain ?? false) !== retain) return false
  if (will !== undefined && (message.will ?? false) !== will) return false
  if (protocol !== undefined && message.protocol !== protocol) return false
  if (all?.some(each => !holds(each, message, nowMs))) return false
  if (any !== undefined && !any.some(each => holds(each, message, nowMs))) return false
  return not === undefined || !holds(not, message, nowMs)
}

function holdsHeader(words: NonNullable<ConditionWords['header']>, message: MessageWords): boolean {
  const value = message.headers?.[words.name]
  if (words.secret !== undefined) return value === words.secret
  return fits(words, value, true)
}

/** Payload values are compared with their type, headers as text. */
function fits(words: ValueWords, value: unknown, isText: boolean): boolean {
  if (words.exists !== undefined) return (value !== undefined) === words.exists
  if (value === undefined) return false
  const same = (wanted: unknown): boolean => (isText ? String(wanted) === value : wanted === value)
  if (words.equals !== undefined) return same(words.equals)
  if (words.in !== undefined) return words.in.some(same)
  const number = isText && /^-?\d+(\.\d+)?$/.test(String(value)) ? Number(value) : value
  const [from, to] = words.range!
  return typeof number === 'number' && number >= (from ?? -Infinity) && number <= (to ?? Infinity)
}

/** A field of a payload by its path, as `alarm.level`. */
export function fieldOf(payload: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    return (value as Record<string, unknown>)[name]
  }, payload)
}

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

function isWithin({ time, days, zone = 'UTC' }: ConditionWords, nowMs: number): boolean {
  const { minutes, day } = localTime(nowMs, zone)
  const [from, to] = (time ?? '00:00-24:00').split('-').map(readMinutes) as [number, number]
  const isOvernight = to <= from
  if (isOvernight ? minutes < from && minutes >= to : minutes < from || minutes >= to) return false
  if (days === undefined) return true
  // An overnight range belongs to the day on which it began.
  const began = isOvernight && minutes < to ? (day + 6) % 7 : day
  return listDays(days).includes(began)
}

function readMinutes(text: string): number {
  const [hours, minutes] = text.split(':')
  return Number(hours) * 60 + Number(minutes)
}

function listDays(text: string): readonly number[] {
  return text.split(',').flatMap(part => {
    const [first, last = first] = part.split('-').map(name => DAYS.indexOf(name))
    const count = ((last! - first! + 7) % 7) + 1
    return Array.from({ length: count }, (_, index) => (first! + index) % 7)
  })
}

const formats = new Map<string, Intl.DateTimeFormat>()

function localTime(nowMs: number, zone: string): { readonly minutes: number; readonly day: number } {
  let format = formats.get(zone)
  if (format === undefined) {
    const parts = { weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, ...parts })
    formats.set(zone, format)
  }
  const found = Object.fromEntries(format.formatToParts(nowMs).map(({ type, value }) => [type, value]))
  return {
    minutes: Number(found.hour) * 60 + Number(found.minute),
    day: DAYS.indexOf(found.weekday!.toLowerCase()),
  }
}
