import type { Problem } from '../core/errors.ts'
import { type FieldPath, readField } from '../core/field-path.ts'
import type { Message } from '../core/message.ts'
import type { Condition } from './condition.ts'
import { checkUnknownOptions, expectObject, quote } from './parse-helpers.ts'
import { type CompiledValueTest, checkValueTest, compileValueTest, VALUE_TEST_WORDS } from './value-test.ts'

const MOST_CHARS = 1_000

/** Parses `priority`, `alarm.level`, `readings[0].value` or `["a.b"].c`; returns undefined if it is not a path. */
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
 * Returns a field of a message's payload; undefined if it is absent or unreadable. Follows own properties
 * only, so that no name reaches a prototype. Never throws.
 */
export function readPayloadField(message: Message, path: FieldPath): unknown {
  try {
    return message.payloadField === undefined
      ? readField(message.payload?.(), path)
      : message.payloadField(path)
  } catch {
    return undefined
  }
}

/**
 * Compiles `payload`: the test of a field or of the whole payload. Texts are compared as bytes, because plain
 * text cannot be parsed.
 */
export function compilePayload(value: unknown, path: string, problems: Problem[]): Condition | undefined {
  const options = expectObject(
    value,
    path,
    problems,
    'write { field: priority, equals: emergency }, or { equals: ON } for all of it',
  )
  if (!options) return undefined
  if (options.field === undefined) {
    checkUnknownOptions(options, ['field', ...VALUE_TEST_WORDS], path, problems)
    const whole = checkValueTest(options, path, problems)
    return whole && compileWhole(whole)
  }
  checkUnknownOptions(options, ['field', ...VALUE_TEST_WORDS], path, problems)
  const field = typeof options.field === 'string' ? parseFieldPath(options.field) : undefined
  if (!field) {
    problems.push({
      path: `${path}.field`,
      message: `${quote(options.field)} is not a field path`,
      remedy: 'write a path as priority, alarm.level, readings[0].value or ["a.b"]',
    })
  }
  const checked = checkValueTest(options, path, problems)
  if (!field || !checked) return undefined
  const test = compileValueTest(checked)
  return message => test(readPayloadField(message, field))
}

/**
 * Compiles a test of a whole payload. A text equals the payload's bytes, or the text of a JSON payload. Other
 * values equal the value of a JSON payload. A payload exists if it has any bytes.
 */
function compileWhole(checked: CompiledValueTest): Condition {
  if (checked.kind === 'exists') return message => message.size > 0 === checked.isPresent
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
