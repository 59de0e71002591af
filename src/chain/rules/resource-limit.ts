import type { Decision, Outcome, Reason } from '../../core/decision.ts'
import { policyError } from '../../core/errors.ts'
import type { Operation } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { parseBytes, quote } from '../../core/units.ts'
import { createKeyMaker, type KeyMaker } from './key-scope.ts'
import type { ResourceLimitOptions } from './rule-options.ts'

/** Kinds of items that a broker holds for its clients, as named in rules. */
export const RESOURCE_KINDS = ['connections', 'subscriptions', 'retained'] as const
export type ResourceKind = (typeof RESOURCE_KINDS)[number]

/** Action that adds an item of each kind. */
export const RESOURCE_OPERATIONS: Readonly<Record<ResourceKind, Operation>> = {
  connections: 'connect',
  subscriptions: 'subscribe',
  retained: 'publish',
}

const REASONS: Readonly<Record<ResourceKind, Reason>> = {
  connections: 'connections_exceeded',
  subscriptions: 'subscriptions_exceeded',
  retained: 'retained_exceeded',
}

/** Outcomes of a message that would exceed a limit of held items. */
const OUTCOMES: readonly Outcome[] = ['reject', 'drop', 'disconnect']

const OPTIONS: KnownOptions<ResourceLimitOptions> = {
  name: true,
  description: true,
  connections: true,
  subscriptions: true,
  retained: true,
  on: true,
  cost: true,
  per: true,
  exceeded: true,
  enabled: true,
  dialect: true,
}

/** Retry delay of a refused message. Fixed, because the time at which an item is released is unknown. */
const ASK_AGAIN_MS = 1_000

/** A limit of items held at once, per key. Brokers count them. */
export interface ResourceLimit {
  readonly name: string
  readonly resource: ResourceKind
  readonly max: number
  /** True if it counts bytes of retained messages. */
  readonly isBytes: boolean
  readonly keys: KeyMaker
  readonly refusal: Decision
}

/** Metadata of a limit of held items. It takes no part in the chain. */
export interface ResourceLimitMeta {
  readonly kind: 'resource'
  readonly name: string
  readonly enabled: boolean
  readonly priority: 0
  readonly rule?: undefined
  readonly limit: ResourceLimit
}

/** Returns the kind of items that a rule limits; undefined for other rules. */
export function resourceKindOf(options: object): ResourceKind | undefined {
  return RESOURCE_KINDS.find(kind => (options as Readonly<Record<string, unknown>>)[kind] !== undefined)
}

/** Compiles a limit of held items. Throws PolicyError. */
export function compileResourceLimit(
  options: ResourceLimitOptions,
  resource: ResourceKind,
): ResourceLimitMeta {
  const { name, per, exceeded = 'reject', enabled = true } = options
  if (typeof name !== 'string' || name === '')
    throw policyError('name', 'a rule needs a name', 'its refusals contain it: give each rule its own')
  const others = ['rate', 'limit', 'quota', 'inFlight', 'cost', 'burst', 'algorithm', ...RESOURCE_KINDS]
  for (const word of others)
    if (word !== resource && (options as unknown as Readonly<Record<string, unknown>>)[word] !== undefined)
      throw policyError(
        word,
        `\`${resource}\` limits what is held at once and does not support \`${word}\``,
        'write two rules: every matching rule is applied',
      )
  checkOptionNames(options, OPTIONS)
  if (options.on !== undefined && options.on !== RESOURCE_OPERATIONS[resource])
    throw policyError(
      'on',
      `\`${resource}\` applies to the action ${RESOURCE_OPERATIONS[resource]} only`,
      'remove `on`',
    )
  if (!OUTCOMES.includes(exceeded))
    throw policyError(
      'exceeded',
      `${quote(exceeded)} is not possible here`,
      `use one of ${OUTCOMES.join(', ')}`,
    )
  const { max, isBytes } = readMax(options[resource], resource)
  const refusal = Object.freeze({
    allowed: false,
    outcome: exceeded,
    reason: REASONS[resource],
    rule: name,
    limit: max,
    remaining: 0,
    retryAfterMs: ASK_AGAIN_MS,
  } as const)
  const limit = { name, resource, max, isBytes, keys: createKeyMaker(per), refusal }
  return { kind: 'resource', name, enabled, priority: 0, limit }
}

function readMax(written: unknown, resource: ResourceKind): Pick<ResourceLimit, 'max' | 'isBytes'> {
  if (typeof written === 'number' && Number.isSafeInteger(written) && written >= 1)
    return { max: written, isBytes: false }
  if (resource === 'retained' && typeof written === 'string' && /^\d.*(?:B|bytes?)$/.test(written.trim())) {
    const max = parseBytes(written)
    if (max >= 1) return { max, isBytes: true }
  }
  const remedy =
    resource === 'retained'
      ? 'write messages as retained: 1000, or bytes as retained: 10MB'
      : `write ${resource}: 20`
  throw policyError(resource, `${quote(written)} is not a whole number from 1`, remedy)
}

/** Returns a description such as `at most 20 connections per ip`. */
export function describeResourceLimit({ resource, max, isBytes, keys }: ResourceLimit): string {
  const per = keys.scopes.join('+')
  const what =
    resource !== 'retained' ? resource : isBytes ? 'bytes of retained messages' : 'retained messages'
  return `at most ${max} ${what}${per === 'global' ? ' in all' : ` per ${per}`}`
}
