import { PolicyError, type Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Condition, ConditionSpec } from './condition.ts'
import { compileHeaderCondition } from './header.ts'
import { compileFlagCondition, compileProtocol, compileQos } from './packet-conditions.ts'
import { checkUnknownOptions, expectObject, type OptionRecord, quote } from './parse-helpers.ts'
import { compilePayload } from './payload-field.ts'
import { compileSizeCondition } from './size.ts'
import { compileTimeRange } from './time-range.ts'

type Compile = (value: unknown, path: string, problems: Problem[]) => Condition | undefined

/** Conditions evaluated before and after the time. The cheapest come first. */
const CHEAP_WORDS: readonly (readonly [string, Compile])[] = [
  ['protocol', compileProtocol],
  ['qos', compileQos],
  ['retain', compileFlagCondition('retain')],
  ['will', compileFlagCondition('will')],
  ['size', compileSizeCondition],
]
const COSTLY_WORDS: readonly (readonly [string, Compile])[] = [
  ['header', compileHeaderCondition],
  ['payload', compilePayload],
]
const TIME_WORDS = ['time', 'days', 'zone']
const KNOWN_WORDS = [
  'description',
  ...TIME_WORDS,
  ...[...CHEAP_WORDS, ...COSTLY_WORDS].map(([option]) => option),
  'all',
  'any',
  'not',
]

const OBJECT_REMEDY = 'write an object, as { time: "22:00-06:00" }'

/**
 * Compiles a `when` condition. Throws one PolicyError with all problems, their paths prefixed with `path`.
 * The condition never throws: unreadable values count as absent, and an unreadable message matches no
 * condition.
 */
export function compileCondition(spec: ConditionSpec, path = 'when'): Condition {
  const problems: Problem[] = []
  const condition = compileObject(spec, path, problems, [])
  if (problems.length > 0 || !condition) throw new PolicyError(problems)
  return (message, nowMs) => {
    try {
      return condition(message, nowMs)
    } catch {
      return false
    }
  }
}

/** Returns true if a condition needs the payload to be parsed. */
export function usesPayload(spec: ConditionSpec): boolean {
  return (
    spec.payload !== undefined ||
    [...(spec.all ?? []), ...(spec.any ?? [])].some(usesPayload) ||
    (spec.not !== undefined && usesPayload(spec.not))
  )
}

/** `parents` are the enclosing objects. A condition that contains itself ends at the maximum depth. */
function compileObject(
  value: unknown,
  path: string,
  problems: Problem[],
  parents: readonly unknown[],
): Condition | undefined {
  if (parents.includes(value)) {
    problems.push({
      path,
      message: 'the condition contains itself',
      remedy: 'write it out without the circle',
    })
    return undefined
  }
  if (parents.length > MAX_SIZES.conditionDepth) {
    const message = `all, any and not nest deeper than ${MAX_SIZES.conditionDepth}`
    problems.push({ path, message, remedy: 'flatten the condition' })
    return undefined
  }
  const options = expectObject(value, path, problems, OBJECT_REMEDY)
  if (!options) return undefined
  const before = problems.length
  checkUnknownOptions(options, KNOWN_WORDS, path, problems)
  if (options.description !== undefined && typeof options.description !== 'string') {
    const message = `${quote(options.description)} is not a text`
    problems.push({ path: `${path}.description`, message, remedy: 'put the description in quotes' })
  }
  const parts = compileParts(options, path, problems, [...parents, value])
  if (parts.length === 0 && problems.length === before) {
    const remedy = 'give at least one condition, or leave it out'
    problems.push({ path, message: 'the condition is empty, so it would always hold', remedy })
  }
  return problems.length === before ? every(parts) : undefined
}

function compileParts(
  options: OptionRecord,
  path: string,
  problems: Problem[],
  parents: readonly unknown[],
): readonly Condition[] {
  const parts: (Condition | undefined)[] = []
  const addAll = (list: typeof CHEAP_WORDS): void => {
    for (const [option, compile] of list) {
      if (options[option] !== undefined) parts.push(compile(options[option], `${path}.${option}`, problems))
    }
  }
  addAll(CHEAP_WORDS)
  if (TIME_WORDS.some(option => options[option] !== undefined))
    parts.push(compileTimeRange(options, path, problems))
  addAll(COSTLY_WORDS)
  if (options.all !== undefined) parts.push(every(compileList(options.all, `${path}.all`, problems, parents)))
  if (options.any !== undefined) parts.push(some(compileList(options.any, `${path}.any`, problems, parents)))
  if (options.not !== undefined) {
    const inner = compileObject(options.not, `${path}.not`, problems, parents)
    parts.push(inner && ((message, nowMs) => !inner(message, nowMs)))
  }
  return parts.filter(part => part !== undefined)
}

function compileList(
  value: unknown,
  path: string,
  problems: Problem[],
  parents: readonly unknown[],
): readonly Condition[] {
  if (!Array.isArray(value) || value.length === 0) {
    const message = Array.isArray(value) ? 'the list is empty' : `${quote(value)} is not a list`
    problems.push({ path, message, remedy: 'write a list of conditions, or leave it out' })
    return []
  }
  const list: readonly unknown[] = value
  return list
    .map((entry, index) => compileObject(entry, `${path}[${index}]`, problems, parents))
    .filter(condition => condition !== undefined)
}

function every(parts: readonly Condition[]): Condition {
  const [first, second] = parts
  if (parts.length === 1 && first) return first
  if (parts.length === 2 && first && second) {
    return (message, nowMs) => first(message, nowMs) && second(message, nowMs)
  }
  return (message, nowMs) => {
    for (const part of parts) if (!part(message, nowMs)) return false
    return true
  }
}

function some(parts: readonly Condition[]): Condition {
  return (message, nowMs) => {
    for (const part of parts) if (part(message, nowMs)) return true
    return false
  }
}
