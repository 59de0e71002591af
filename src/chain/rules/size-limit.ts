import { compileCondition } from '../../conditions/compile.ts'
import type { Condition, ConditionSpec } from '../../conditions/condition.ts'
import { holdsFor } from '../../conditions/condition.ts'
import { type Decision, HARSHNESS, type Outcome, PASSED } from '../../core/decision.ts'
import { checkWithPathPrefix, policyError } from '../../core/errors.ts'
import type { Message, Operation } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { parseBytes } from '../../core/units.ts'
import { compileExceeded, type ExceededPlan } from '../../outcomes/exceeded.ts'
import { checkRefusalText } from '../../outcomes/refusal-text.ts'
import type { RefusalWords } from '../../outcomes/rule-info.ts'
import { type CompiledPenalty, compilePenalty } from './compile-penalty.ts'
import type { MessageSizeOptions } from './rule-options.ts'
import { type CoversSender, compileForLists, type SenderMatchLists } from './sender-filter.ts'
import { compileShadow, type Shadow } from './shadow.ts'

/** A rule that refuses messages above a size. It counts nothing, so it has neither key nor state. */
export interface SizeRule extends Shadow {
  readonly name: string
  readonly description?: string | undefined
  readonly on: Operation
  readonly maxBytes: number
  readonly outcome: Outcome
  readonly exceeded: ExceededPlan
  readonly message?: RefusalWords | undefined
  readonly harshness: number
  /** True for `degrade`: the message passes with a lower QoS. */
  readonly soft: boolean
  readonly penalty?: CompiledPenalty | undefined
  readonly when?: Condition | undefined
  readonly whenSpec?: ConditionSpec | undefined
  readonly covers?: CoversSender | undefined
  readonly forLists?: SenderMatchLists | undefined
}

/** Metadata of a maximum size. */
export interface SizeLimitMeta {
  readonly kind: 'size'
  readonly enabled: boolean
  readonly priority: number
  readonly rule?: undefined
  readonly size: SizeRule
}

/** Outcomes that delay a message. Useless here, because a message that is too large never passes. */
const WAITING: readonly string[] = ['throttle', 'queue', 'latest', 'retry']

const SIZE: KnownOptions<MessageSizeOptions> = {
  name: true,
  description: true,
  on: true,
  maxSize: true,
  for: true,
  when: true,
  exceeded: true,
  message: true,
  penalties: true,
  shadow: true,
  enabled: true,
  priority: true,
  dialect: true,
}

/** Compiles a maximum size. Throws PolicyError. */
export function compileSizeRule(options: MessageSizeOptions): SizeLimitMeta {
  checkOptionNames(options, SIZE)
  const { name, description, on = 'publish', message } = options
  if (typeof name !== 'string' || name === '')
    throw policyError('name', 'a rule needs a name', 'its refusals contain it: give each rule its own')
  if (on !== 'publish' && on !== 'deliver')
    throw policyError('on', `a ${String(on)} has no size`, 'use publish or deliver')
  const maxBytes = checkWithPathPrefix('maxSize', () => parseBytes(options.maxSize))
  const exceeded = compileExceeded(options.exceeded, options.dialect)
  const { outcome } = exceeded
  if (WAITING.includes(outcome)) {
    const remedy = 'use drop, reject, disconnect, redirect or degrade'
    throw policyError(
      'exceeded',
      `a message that is too large does not pass later, so "${outcome}" has no use`,
      remedy,
    )
  }
  checkRefusalText(message, 'message')
  const { shadow, partialShadow } = compileShadow(options.shadow, undefined)
  const size: SizeRule = {
    name,
    description,
    on,
    maxBytes,
    outcome,
    exceeded,
    message,
    shadow,
    harshness: HARSHNESS[outcome],
    soft: outcome === 'degrade',
    penalty: checkWithPathPrefix('penalties', () => compilePenalty(options.penalties, true)),
    when: options.when === undefined ? undefined : compileCondition(options.when, 'when'),
    whenSpec: options.when,
    covers: options.for === undefined ? undefined : compileForLists(options.for, on),
    forLists: options.for,
    partialShadow,
  }
  return { kind: 'size', enabled: options.enabled ?? true, priority: options.priority ?? 0, size }
}

/** Returns the decision of maximum sizes; undefined if none applies. The harshest refusal wins, the first on a tie. */
export function decideSize(
  rules: readonly SizeRule[],
  message: Message,
  nowMs: number,
): Decision | undefined {
  let worst: SizeRule | undefined
  let degrading: SizeRule | undefined
  let shadow: string[] | undefined
  for (const rule of rules) {
    if (message.size <= rule.maxBytes || !holdsFor(rule, message, nowMs)) continue
    if (rule.shadow) {
      shadow ??= []
      shadow.push(rule.name)
    } else if (rule.soft) degrading ??= rule
    else if (worst === undefined || rule.harshness > worst.harshness) worst = rule
  }
  const named = worst ?? degrading
  if (named === undefined) return shadow === undefined ? undefined : { ...PASSED, shadow }
  return {
    allowed: worst === undefined,
    outcome: named.outcome,
    reason: 'too_large',
    rule: named.name,
    limit: named.maxBytes,
    retryAfterMs: worst === undefined ? 0 : Infinity,
    shadow,
  }
}
