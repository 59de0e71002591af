import type { Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message } from '../core/message.ts'
import type { Condition } from './condition.ts'
import { checkUnknownOptions, expectObject, type OptionRecord, quote } from './parse-helpers.ts'
import { isSecretHeader, SecretText } from './secret-text.ts'
import { type CompiledValueTest, checkValueTest, VALUE_TEST_WORDS } from './value-test.ts'

type Match = (value: string) => boolean

const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?$/
const MOST_DIGITS = 64
const NO_VALUES: readonly string[] = []

/**
 * Returns the values of a header; empty if it is absent or unreadable. At most `MAX_SIZES.headerValues`, text
 * only. The exact name applies; on NATS, if it is missing, the first that differs in case only. Own
 * properties only. Never throws.
 */
export function readHeaderValues(message: Message, name: string): readonly string[] {
  const read = readHeader(message, name)
  if (typeof read === 'string') return [read]
  return read ?? NO_VALUES
}

/** Returns the first value of a header, read as {@link readHeaderValues} does. Never throws. */
export function readHeaderValue(message: Message, name: string): string | undefined {
  const read = readHeader(message, name)
  return typeof read === 'string' ? read : read?.[0]
}

/** Returns one value without a list, which is the usual case. */
function readHeader(message: Message, name: string): string | readonly string[] | undefined {
  try {
    const value = findHeader(message, name)
    return Array.isArray(value) ? textsOf(value) : typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

function textsOf(list: readonly unknown[]): readonly string[] {
  const texts: string[] = []
  const max = Math.min(list.length, MAX_SIZES.headerValues)
  for (let index = 0; index < max; index++) {
    const entry = list[index]
    if (typeof entry === 'string') texts.push(entry)
  }
  return texts
}

function findHeader(message: Message, name: string): unknown {
  const headers: OptionRecord | undefined = message.headers
  if (typeof headers !== 'object' || headers === null) return undefined
  if (Object.hasOwn(headers, name)) return headers[name]
  if (message.protocol !== 'nats') return undefined
  let looked = 0
  for (const other of Object.keys(headers)) {
    if (++looked > MAX_SIZES.headerNames) return undefined
    if (other.length === name.length && other.toLowerCase() === name.toLowerCase()) return headers[other]
  }
  return undefined
}

/** Compiles `header`. One of several values is enough; `exists: false` matches if there is none. */
export function compileHeaderCondition(
  value: unknown,
  path: string,
  problems: Problem[],
): Condition | undefined {
  const options = expectObject(value, path, problems, 'write it as { name: x-priority, equals: high }')
  if (!options) return undefined
  checkUnknownOptions(options, ['name', 'secret', ...VALUE_TEST_WORDS], path, problems)
  const { name } = options
  if (typeof name !== 'string' || name === '') {
    problems.push({
      path: `${path}.name`,
      message: name === undefined ? 'the name is missing' : `${quote(name)} is not the name of a header`,
      remedy: 'write the name of a header or user property',
    })
  }
  const isSecret = options.secret !== undefined || (typeof name === 'string' && isSecretHeader(name))
  const test =
    options.secret === undefined
      ? checkValueTest(options, path, problems)
      : checkSecret(options, path, problems)
  const before = problems.length
  if (test?.kind === 'among') checkTexts(test.values, options, path, problems)
  if (!test || typeof name !== 'string' || problems.length > before) return undefined

  if (test.kind === 'exists') {
    const { isPresent } = test
    return message => (readHeaderValue(message, name) !== undefined) === isPresent
  }
  const match =
    test.kind === 'range' ? matchRange(test.min, test.max) : matchTexts(test.values.map(String), isSecret)
  return message => {
    const read = readHeader(message, name)
    if (read === undefined) return false
    if (typeof read === 'string') return match(read)
    let found = false
    // Compares every value, even after a match, so that the time does not reveal which one matched.
    for (const text of read) found = match(text) || found
    return found
  }
}

function checkSecret(
  options: OptionRecord,
  path: string,
  problems: Problem[],
): CompiledValueTest | undefined {
  const others = VALUE_TEST_WORDS.filter(option => options[option] !== undefined)
  if (others.length > 0) {
    const remedy = 'give the secret alone; join several conditions with all or any'
    problems.push({ path, message: `secret and ${others.join(' and ')} cannot be combined`, remedy })
  }
  if (typeof options.secret !== 'string' || options.secret === '') {
    // The value is not repeated, because even a wrong secret must not be logged.
    const remedy = 'write a long random text, in quotes'
    problems.push({ path: `${path}.secret`, message: 'the secret is not a text, or empty', remedy })
    return undefined
  }
  return others.length > 0 ? undefined : { kind: 'among', values: [options.secret] }
}

function checkTexts(
  values: readonly unknown[],
  options: OptionRecord,
  path: string,
  problems: Problem[],
): void {
  const option = VALUE_TEST_WORDS.find(each => options[each] !== undefined) ?? 'secret'
  values.forEach((value, index) => {
    const valuePath = `${path}.${option}${option === 'in' ? `[${index}]` : ''}`
    if (value === null) {
      const remedy = 'for a missing header write exists: false'
      problems.push({ path: valuePath, message: 'a header is a text, never null', remedy })
    } else if (typeof value === 'string' && value.length > MAX_SIZES.headerValueChars) {
      const message = `the text has ${value.length} characters; longer headers than ${MAX_SIZES.headerValueChars} match nothing`
      problems.push({ path: valuePath, message, remedy: 'use a shorter text' })
    }
  })
}

function matchTexts(texts: readonly string[], isSecret: boolean): Match {
  if (isSecret) return matchSecrets(texts.map(text => new SecretText(text)))
  const [only] = texts
  if (texts.length === 1) return value => value === only
  const known: ReadonlySet<string> = new Set(texts)
  return value => known.has(value)
}

/** Compares with all secrets, even after a match, so that the time does not reveal which one matched. */
function matchSecrets(secrets: readonly SecretText[]): Match {
  return value => {
    if (value.length > MAX_SIZES.headerValueChars) return false
    let found = false
    for (const secret of secrets) found = secret.equals(value) || found
    return found
  }
}

function matchRange(min: number, max: number): Match {
  return value => {
    if (value.length > MOST_DIGITS || !DECIMAL.test(value)) return false
    const number = Number(value)
    return number >= min && number <= max
  }
}
