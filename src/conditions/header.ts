import { createHash, timingSafeEqual } from 'node:crypto'
import type { Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message } from '../core/message.ts'
import type { Condition } from './condition.ts'
import { checkUnknownOptions, expectObject, type OptionRecord, quote } from './parse-helpers.ts'
import { type CheckedTest, checkValueTest, VALUE_TEST_WORDS } from './value-test.ts'

type Match = (value: string) => boolean

const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?$/
const MOST_DIGITS = 64

/**
 * Returns the values of a header; empty if it is absent or unreadable. At most `MAX_SIZES.headerValues`, text
 * only. The exact name applies; on NATS, if it is missing, the first that differs in case only. Own
 * properties only. Never throws.
 */
export function readHeaderValues(message: Message, name: string): readonly string[] {
  try {
    const value = findHeader(message, name)
    if (typeof value === 'string') return [value]
    if (!Array.isArray(value)) return []
    const values: string[] = []
    const most = Math.min(value.length, MAX_SIZES.headerValues)
    for (let index = 0; index < most; index++) {
      const entry: unknown = value[index]
      if (typeof entry === 'string') values.push(entry)
    }
    return values
  } catch {
    return []
  }
}

function findHeader(message: Message, name: string): unknown {
  const headers: OptionRecord | undefined = message.headers
  if (typeof headers !== 'object' || headers === null) return undefined
  if (Object.hasOwn(headers, name)) return headers[name]
  if (message.protocol !== 'nats') return undefined
  const lower = name.toLowerCase()
  let looked = 0
  for (const other of Object.keys(headers)) {
    if (++looked > MAX_SIZES.headerNames) return undefined
    if (other.length === name.length && other.toLowerCase() === lower) return headers[other]
  }
  return undefined
}

/** Compiles `header`. One of several values is enough; `exists: false` matches if there is none. */
export function compileHeaderCondition(
  value: unknown,
  path: string,
  problems: Problem[],
): Condition | undefined {
  const words = expectObject(value, path, problems, 'write it as { name: x-priority, equals: high }')
  if (!words) return undefined
  checkUnknownOptions(words, ['name', 'secret', ...VALUE_TEST_WORDS], path, problems)
  const { name } = words
  if (typeof name !== 'string' || name === '') {
    problems.push({
      path: `${path}.name`,
      message: name === undefined ? 'the name is missing' : `${quote(name)} is not the name of a header`,
      remedy: 'write the name of a header or user property',
    })
  }
  const test =
    words.secret === undefined ? checkValueTest(words, path, problems) : checkSecret(words, path, problems)
  const before = problems.length
  if (test?.kind === 'among') checkTexts(test.values, words, path, problems)
  if (!test || typeof name !== 'string' || problems.length > before) return undefined

  if (test.kind === 'exists') {
    const { isPresent } = test
    return message => readHeaderValues(message, name).length > 0 === isPresent
  }
  const match = test.kind === 'range' ? matchRange(test.min, test.max) : matchTexts(test.values.map(String))
  return message => {
    let found = false
    // Compares every value, even after a match, so that the time does not reveal which one matched.
    for (const text of readHeaderValues(message, name)) found = match(text) || found
    return found
  }
}

function checkSecret(words: OptionRecord, path: string, problems: Problem[]): CheckedTest | undefined {
  const others = VALUE_TEST_WORDS.filter(word => words[word] !== undefined)
  if (others.length > 0) {
    const remedy = 'give the secret alone; join several conditions with all or any'
    problems.push({ path, message: `secret and ${others.join(' and ')} cannot be combined`, remedy })
  }
  if (typeof words.secret !== 'string' || words.secret === '') {
    // The value is not repeated, because even a wrong secret must not be logged.
    const remedy = 'write a long random text, in quotes'
    problems.push({ path: `${path}.secret`, message: 'the secret is not a text, or empty', remedy })
    return undefined
  }
  return others.length > 0 ? undefined : { kind: 'among', values: [words.secret] }
}

function checkTexts(
  values: readonly unknown[],
  words: OptionRecord,
  path: string,
  problems: Problem[],
): void {
  const word = VALUE_TEST_WORDS.find(each => words[each] !== undefined) ?? 'secret'
  values.forEach((value, index) => {
    const place = `${path}.${word}${word === 'in' ? `[${index}]` : ''}`
    if (value === null) {
      const remedy = 'for a missing header write exists: false'
      problems.push({ path: place, message: 'a header is a text, never null', remedy })
    } else if (typeof value === 'string' && value.length > MAX_SIZES.headerValueChars) {
      const message = `the text has ${value.length} characters; longer headers than ${MAX_SIZES.headerValueChars} match nothing`
      problems.push({ path: place, message, remedy: 'use a shorter text' })
    }
  })
}

/** Compares with all digests, so that the time reveals neither the length nor a common prefix. */
function matchTexts(candidates: readonly string[]): Match {
  const digests = candidates.map(digest)
  return value => {
    if (value.length > MAX_SIZES.headerValueChars) return false
    const actual = digest(value)
    let found = false
    for (const expected of digests) found = timingSafeEqual(actual, expected) || found
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

/** Hashes UTF-16, in which different texts always differ. UTF-8 would encode all lone surrogates alike. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text, 'utf16le').digest()
}
