import { parseFieldPath } from '../conditions/payload-field.ts'
import type { Decision } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import type { FieldPath } from '../core/field-path.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'

export interface DegradeOptions {
  /** Delivers 1 message in this many of each key and drops the others. Default: 1, all. */
  readonly sample?: number | undefined
  /** Paths of the JSON payload fields to keep. All others are removed. */
  readonly keep?: readonly string[] | undefined
  /** Paths of the JSON payload fields to remove. */
  readonly strip?: readonly string[] | undefined
  /** Clears the retain flag. Default: true. */
  readonly clearRetain?: boolean | undefined
  /** Highest QoS of the delivery. Default: 0. */
  readonly qos?: 0 | 1 | 2 | undefined
  /** Header or user property that carries the rule's name. */
  readonly mark?: string | undefined
}

const OPTIONS: KnownOptions<DegradeOptions> = {
  sample: true,
  keep: true,
  strip: true,
  clearRetain: true,
  qos: true,
  mark: true,
}

export interface DegradePlan {
  readonly sample: number
  /** Undefined if the payload stays unchanged. */
  readonly reduce: ((payload: object) => object) | undefined
  readonly clearRetain: boolean
  readonly qos: 0 | 1 | 2
  readonly mark: string | undefined
}

/** Degraded form of a message. */
export interface Degraded {
  /** New payload bytes, or undefined if the payload stays unchanged. */
  readonly payload: Uint8Array | undefined
  readonly retain: boolean
  readonly qos: 0 | 1 | 2
  /** Headers or user properties to add. */
  readonly headers: Readonly<Record<string, string>>
}

/** Compiles the options of `degrade`. Throws PolicyError. */
export function compileDegrade(options: DegradeOptions, path: string): DegradePlan {
  checkOptionNames(options, OPTIONS, path)
  const { sample = 1, keep, strip, clearRetain = true, qos = 0, mark } = options
  if (!Number.isSafeInteger(sample) || sample < 1)
    throw policyError(
      `${path}.sample`,
      `${String(sample)} is not a whole number above 0`,
      'write 10 for 1 in 10',
    )
  if (![0, 1, 2].includes(qos))
    throw policyError(`${path}.qos`, `${String(qos)} is not a QoS`, 'write 0, 1 or 2')
  if (typeof clearRetain !== 'boolean')
    throw policyError(`${path}.clearRetain`, `${String(clearRetain)} is not a boolean`, 'write true or false')
  if (keep !== undefined && strip !== undefined)
    throw policyError(`${path}.strip`, '`keep` and `strip` exclude each other', 'use one of them')
  if (mark !== undefined && !(typeof mark === 'string' && /^[!#-'*+.\w^`|~-]{1,100}$/.test(mark)))
    throw policyError(`${path}.mark`, 'not a header name', 'use letters, digits and -')
  const keptPaths = keep === undefined ? undefined : readPaths(keep, `${path}.keep`)
  const strippedPaths = strip === undefined ? undefined : readPaths(strip, `${path}.strip`)
  const reduce =
    keptPaths !== undefined
      ? (payload: object) => keepFields(payload, keptPaths)
      : strippedPaths !== undefined
        ? (payload: object) => stripFields(payload, strippedPaths)
        : undefined
  return { sample, reduce, clearRetain, qos, mark }
}

function readPaths(fields: readonly string[], path: string): readonly FieldPath[] {
  if (!Array.isArray(fields) || fields.length === 0)
    throw policyError(path, 'not a list of fields', 'write a list, such as [value, unit]')
  return fields.map((field: unknown, index) => {
    const parsed = typeof field === 'string' ? parseFieldPath(field) : undefined
    if (parsed?.every(step => typeof step === 'string')) return parsed
    const message = `${JSON.stringify(field)} is not a field path`
    throw policyError(`${path}[${index}]`, message, 'write it as value or reading.unit')
  })
}

/**
 * Returns the degraded form of a message. The guard does the sampling. Changes the payload only if the plan asks for
 * it and the payload is a JSON object. Pure; never throws.
 */
export function degradeMessage(plan: DegradePlan, message: Message, decision: Decision): Degraded {
  const headers: Record<string, string> = {}
  if (plan.mark !== undefined)
    headers[plan.mark] = (decision.rule ?? '').slice(0, MAX_SIZES.fieldChars).replace(/[\p{Cc}\p{Cs}]/gu, '_')
  return {
    payload: reducePayload(plan, message),
    retain: message.retain === true && !plan.clearRetain,
    qos: Math.min(message.qos ?? 0, plan.qos) as 0 | 1 | 2,
    headers,
  }
}

function reducePayload({ reduce }: DegradePlan, message: Message): Uint8Array | undefined {
  if (reduce === undefined) return undefined
  try {
    const payload = message.payload?.()
    if (!isObject(payload)) return undefined
    return Buffer.from(JSON.stringify(reduce(payload)))
  } catch {
    return undefined
  }
}

type Fields = Record<string | number, unknown>

/** Copies only the fields at `paths`, in their nesting. The copies have no prototype. */
function keepFields(payload: object, paths: readonly FieldPath[]): object {
  const copy: Fields = Object.create(null) as Fields
  for (const path of paths) copyField(payload, copy, path, 0)
  return copy
}

function copyField(from: object, to: Fields, path: FieldPath, depth: number): void {
  const name = path[depth]!
  if (!Object.hasOwn(from, name)) return
  const value = (from as Fields)[name]
  if (depth === path.length - 1) {
    to[name] = value
    return
  }
  if (!isObject(value)) return
  const inner = Object.hasOwn(to, name) ? to[name] : Object.create(null)
  to[name] = inner
  // Another path already keeps it whole.
  if (inner !== value) copyField(value, inner as Fields, path, depth + 1)
}

/** Copies a payload without the fields at `paths`. Parts outside the paths are shared, not copied. */
function stripFields(payload: object, paths: readonly FieldPath[]): object {
  let stripped = payload
  for (const path of paths) stripped = withoutField(stripped, path, 0)
  return stripped
}

function withoutField(from: object, path: FieldPath, depth: number): object {
  const name = path[depth]!
  if (!Object.hasOwn(from, name)) return from
  const copy = Object.assign(Object.create(null), from) as Fields
  const value = copy[name]
  if (depth === path.length - 1) delete copy[name]
  else if (isObject(value)) copy[name] = withoutField(value, path, depth + 1)
  return copy
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
