import type { Problem } from '../core/errors.ts'
import type { Message } from '../core/message.ts'
import type { Condition } from './condition.ts'
import { quote, readWords, refuseUnknown } from './parse-options.ts'
import { type CheckedTest, checkValueTest, compileValueTest, VALUE_WORDS } from './value-test.ts'

/** Names of properties and indexes of lists, from the root of the payload. */
export type FieldPath = readonly (string | number)[]

const MOST_CHARS = 1_000

/** Reads `priority`, `alarm.level`, `readings[0].value` or `["a.b"].c`; undefined where it is no path. */
export function parseFieldPath(text: string): FieldPath | undefined {
  if (text.length > MOST_CHARS) return undefined
  const steps: (string | number)[] = []
  const step = /(?:^|(?<!^)\.)([^.[\]]+)|\[(\d{1,9})\]|\[("(?:[^"\\]|\\.)*")\]/y
  while (step.lastIndex < text.length) {
    const match = step.exec(text)
    if (!match) return undefined
    const [, name, index, quoted] = match
    if (name !== undefined) steps.push(name)
    else if (index !== undefined) steps.push(Number(index))
    else {
      const key = unquote(quoted ?? '')
      if (key === undefined) return undefined
      steps.push(key)
    }
  }
  return steps.length === 0 ? undefined : steps
}

/**
 * The field of a message's payload, undefined where it is absent or cannot be read. Follows own properties only,
 * so that no name reaches a prototype. Never throws, whatever the payload is.
 */
export function readField(message: Message, path: FieldPath): unknown {
  try {
    let value = message.payload?.()
    for (const step of path) {
      if (typeof value !== 'object' || value === null) return undefined
      if (Array.isArray(value) !== (typeof step === 'number')) return undefined
      if (!Object.hasOwn(value, step)) return undefined
      value = (value as Record<string | number, unknown>)[step]
    }
    return value
  } catch {
    return undefined
  }
}

/**
 * Compiles the word `payload`: the test of a field or, without one, of the whole payload. Why texts are compared as bytes:
 * a payload of plain text is none that could be parsed.
 */
export function compilePayload(value: unknown, path: string, problems: Problem[]): Condition | undefined {
  const words = readWords(
    value,
    path,
    problems,
    'write { field: priority, equals: emergency }, or { equals: ON } for all of it',
  )
  if (!words) return undefined
  if (words.field === undefined) {
    refuseUnknown(words, ['field', ...VALUE_WORDS], path, problems)
    const whole = checkValueTest(words, path, problems)
    return whole && compileWhole(whole)
  }
  refuseUnknown(words, ['field', ...VALUE_WORDS], path, problems)
  const field = typeof words.field === 'string' ? parseFieldPath(words.field) : undefined
  if (!field) {
    problems.push({
      path: `${path}.field`,
      message: `${quote(words.field)} is not a field path`,
      remedy: 'write a path as priority, alarm.level, readings[0].value or ["a.b"]',
    })
  }
  const checked = checkValueTest(words, path, problems)
  if (!field || !checked) return undefined
  const test = compileValueTest(checked)
  return message => test(readField(message, field))
}

/**
 * Compiles a test of a whole payload. A text is equal to the payload's bytes, and to the text that a payload of JSON is; other
 * values to what a payload of JSON is. A payload exists if it has any bytes.
 */
function compileWhole(checked: CheckedTest): Condition {
  if (checked.kind === 'exists') return message => message.size > 0 === checked.wanted
  const test = compileValueTest(checked)
  const texts =
    checked.kind === 'range'
      ? []
      : checked.values.flatMap(each => (typeof each === 'string' ? [Buffer.from(each)] : []))
  return message => texts.some(text => isText(message, text)) || test(parsedPayload(message))
}

function isText(message: Message, text: Buffer): boolean {
  if (message.size !== text.length) return false
  try {
    const bytes = message.bytes?.()
    return bytes instanceof Uint8Array && text.equals(bytes)
  } catch {
    return false
  }
}

function parsedPayload(message: Message): unknown {
  try {
    return message.payload?.()
  } catch {
    return undefined
  }
}

function unquote(text: string): string | undefined {
  try {
    return JSON.parse(text) as string
  } catch {
    return undefined
  }
}
