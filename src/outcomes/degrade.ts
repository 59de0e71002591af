import { type FieldPath, parseFieldPath } from '../conditions/payload-field.ts'
import type { Decision } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message } from '../core/message.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'
import { keepFields, stripFields } from './payload-fields.ts'

export interface DegradeOptions {
  /** Deliver 1 in so many of each key; the others are dropped. Default: 1, all. */
  readonly sample?: number | undefined
  /** Fields of a JSON payload that stay, as paths; all others go. */
  readonly keep?: readonly string[] | undefined
  /** Fields of a JSON payload that go. */
  readonly strip?: readonly string[] | undefined
  /** Whether the message is no longer retained. Default: true. */
  readonly clearRetain?: boolean | undefined
  /** The highest QoS it is delivered with. Default: 0. */
  readonly qos?: 0 | 1 | 2 | undefined
  /** A header or user property that is to hold the rule's name. */
  readonly mark?: string | undefined
}

const OPTIONS: OptionNames<DegradeOptions> = {
  sample: true,
  keep: true,
  strip: true,
  clearRetain: true,
  qos: true,
  mark: true,
}

export interface DegradePlan {
  readonly sample: number
  /** Undefined where the payload stays as it is. */
  readonly reduce: ((payload: object) => object) | undefined
  readonly clearRetain: boolean
  readonly qos: 0 | 1 | 2
  readonly mark: string | undefined
}

/** The cheaper form of a message. */
export interface Degraded {
  /** New payload bytes; undefined where the payload stays as it is. */
  readonly payload: Uint8Array | undefined
  readonly retain: boolean
  readonly qos: 0 | 1 | 2
  /** To be added to the headers or user properties. */
  readonly headers: Readonly<Record<string, string>>
}

/** Compiles the options of `degrade`. Throws PolicyError. */
export function compileDegrade(options: DegradeOptions, path: string): DegradePlan {
  checkOptionNames(options, OPTIONS, path)
  const { sample = 1, keep, strip, clearRetain = true, qos = 0, mark } = options
  if (!Number.isSafeInteger(sample) || sample < 1)
    throw policyError(`${path}.sample`, `${String(sample)} is not 1 in so many`, 'write 10 for 1 in 10')
  if (![0, 1, 2].includes(qos))
    throw policyError(`${path}.qos`, `${String(qos)} is not a QoS`, 'write 0, 1 or 2')
  if (typeof clearRetain !== 'boolean')
    throw policyError(`${path}.clearRetain`, 'it is neither true nor false', 'write true or false')
  if (keep !== undefined && strip !== undefined)
    throw policyError(`${path}.strip`, '`keep` and `strip` stand together', 'use one of them')
  if (mark !== undefined && !(typeof mark === 'string' && /^[!#-'*+.\w^`|~-]{1,100}$/.test(mark)))
    throw policyError(`${path}.mark`, 'it is not the name of a header', 'write letters, digits and -')
  const kept = keep === undefined ? undefined : readPaths(keep, `${path}.keep`)
  const gone = strip === undefined ? undefined : readPaths(strip, `${path}.strip`)
  const reduce =
    kept !== undefined
      ? (payload: object) => keepFields(payload, kept)
      : gone !== undefined
        ? (payload: object) => stripFields(payload, gone)
        : undefined
  return { sample, reduce, clearRetain, qos, mark }
}

function readPaths(fields: readonly string[], path: string): readonly FieldPath[] {
  if (!Array.isArray(fields) || fields.length === 0)
    throw policyError(path, 'it is no list of fields', 'write a list, as [value, unit]')
  return fields.map((field: unknown, index) => {
    const parsed = typeof field === 'string' ? parseFieldPath(field) : undefined
    if (parsed?.every(step => typeof step === 'string')) return parsed
    const message = `${JSON.stringify(field)} is no path of names`
    throw policyError(`${path}[${index}]`, message, 'write it as value or reading.unit')
  })
}

/**
 * The cheaper form in which a message is delivered; sampling is the guard's. Pure. The payload is changed only where
 * the plan asks and it is a JSON object; never throws.
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
    if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return undefined
    return Buffer.from(JSON.stringify(reduce(payload)))
  } catch {
    return undefined
  }
}
