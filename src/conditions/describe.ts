import type { ConditionSpec, ValueTest } from './condition.ts'
import { isSecretHeader } from './secret-text.ts'

/** Maximum length of a description, which is one line of an explanation. */
const MOST_CHARS = 2_000

/**
 * Describes a valid condition in one line: `time 22:00-06:00 mon-fri Europe/Berlin and payload priority =
 * "emergency"`. Secrets, and values of headers whose name suggests one, appear as `***`.
 */
export function describeCondition(spec: ConditionSpec): string {
  const text = describe(spec)
  return text.length > MOST_CHARS ? `${text.slice(0, MOST_CHARS - 1)}…` : text
}

function describe(spec: ConditionSpec): string {
  const text = describeParts(spec).join(' and ')
  return spec.description === undefined ? text : `${oneLine(spec.description)} (${text})`
}

function describeParts(spec: ConditionSpec): readonly string[] {
  const parts: string[] = []
  const { protocol, qos, retain, will, size, header, payload, all, any, not } = spec
  const time = describeTime(spec)
  if (time !== '') parts.push(time)
  if (protocol !== undefined) parts.push(`protocol ${protocol}`)
  if (qos !== undefined) parts.push(`qos ${[qos].flat().join(' or ')}`)
  if (retain !== undefined) parts.push(retain ? 'retained' : 'not retained')
  if (will !== undefined) parts.push(will ? 'a will' : 'no will')
  if (size) parts.push(`size ${describeRange(size.min ?? null, size.max ?? null)}`)
  if (header) {
    parts.push(`header ${oneLine(header.name)} ${describeHeaderTest(header)}`)
  }
  if (payload)
    parts.push(
      ['payload', payload.field && oneLine(payload.field), describeTest(payload)].filter(Boolean).join(' '),
    )
  if (all) parts.push(group(all, ' and '))
  if (any) parts.push(group(any, ' or '))
  if (not) parts.push(`not (${describe(not)})`)
  return parts
}

function describeTime({ time, days, zone }: ConditionSpec): string {
  const word = time === undefined ? 'days' : 'time'
  const list = typeof days === 'string' ? days : days?.join(',')
  if (time === undefined && list === undefined) return ''
  return [word, time, list, zone ?? 'UTC']
    .filter(part => part !== undefined)
    .map(oneLine)
    .join(' ')
}

function group(list: readonly ConditionSpec[], glue: string): string {
  const [only, ...others] = list
  if (only && others.length === 0) return describe(only)
  return `(${list.map(entry => (needsBrackets(entry) ? `(${describe(entry)})` : describe(entry))).join(glue)})`
}

/** Returns false for a single property. Several, or a list, would be ambiguous without brackets. */
function needsBrackets(spec: ConditionSpec): boolean {
  return spec.description === undefined && describeParts(spec).length > 1
}

function describeHeaderTest(header: NonNullable<ConditionSpec['header']>): string {
  if (header.secret !== undefined) return '= ***'
  const isHidden = isSecretHeader(header.name)
  if (isHidden && header.equals !== undefined) return '= ***'
  return isHidden && header.in !== undefined ? 'in ***' : describeTest(header)
}

function describeTest(test: ValueTest): string {
  if (test.equals !== undefined) return `= ${JSON.stringify(test.equals)}`
  if (test.in !== undefined) return `in ${JSON.stringify(test.in)}`
  if (test.range !== undefined) return describeRange(test.range[0], test.range[1])
  return test.exists ? 'exists' : 'is absent'
}

function describeRange(min: number | string | null, max: number | string | null): string {
  if (min === null) return `<= ${max}`
  return max === null ? `>= ${min}` : `${min} to ${max}`
}

function oneLine(text: string): string {
  return text.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim()
}
