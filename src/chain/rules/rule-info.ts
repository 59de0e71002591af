import { holdsFor } from '../../conditions/condition.ts'
import type { Message, Sender } from '../../core/message.ts'
import type { RuleInfo } from '../../outcomes/rule-info.ts'
import { captureLevels, type Pattern } from '../../topic/pattern.ts'
import type { PlanStep } from '../routing/plan-steps.ts'
import type { Rule } from './create-limit-middleware.ts'
import { keyWithoutPrefix } from './key-scope.ts'
import { keyOf } from './rule-key.ts'
import { shadowShareOf } from './shadow.ts'
import type { SizeRule } from './size-limit.ts'
import type { UnchangedRule } from './unchanged-payload-rule.ts'

const NO_CAPTURES: ReadonlyMap<string, string> = new Map()

/** Returns the public description of a rule, with its first pattern. */
export function ruleInfoOf(rule: Rule, pattern: Pattern | undefined): RuleInfo {
  return {
    name: rule.name,
    description: rule.description,
    on: rule.on,
    pattern: pattern?.text,
    count: rule.limit.count,
    periodMs: rule.limit.periodMs,
    capacity: rule.limit.capacity,
    unit: rule.unit,
    per: rule.keys.scopes,
    algorithm: rule.limit.algorithm,
    isSelective: rule.when !== undefined || rule.covers !== undefined,
    isShadow: shadowShareOf(rule) === 1,
    shadowShare: shadowShareOf(rule),
    reason: rule.reason,
    exceeded: rule.exceeded,
    message: rule.message,
    capturesOf: topic => (pattern === undefined ? NO_CAPTURES : captureLevels(pattern, topic)),
  }
}

/** Returns the public description of a maximum size, with its first pattern. */
export function ruleInfoOfSizeRule(rule: SizeRule, pattern: Pattern | undefined): RuleInfo {
  const { name, description, on, maxBytes, exceeded, message } = rule
  return {
    name,
    description,
    on,
    pattern: pattern?.text,
    maxBytes,
    count: maxBytes,
    capacity: maxBytes,
    periodMs: 0,
    unit: 'bytes',
    per: [],
    algorithm: 'max-size',
    exceeded,
    message,
    isSelective: rule.when !== undefined || rule.covers !== undefined,
    isShadow: shadowShareOf(rule) === 1,
    shadowShare: shadowShareOf(rule),
    reason: 'too_large',
    capturesOf: topic => (pattern === undefined ? NO_CAPTURES : captureLevels(pattern, topic)),
  }
}

/** Returns the public description of an `unchanged` rule, with its first pattern. */
export function unchangedInfoOf(rule: UnchangedRule, pattern: Pattern | undefined): RuleInfo {
  const { name, description, on, exceeded, keys } = rule
  return {
    name,
    description,
    on,
    pattern: pattern?.text,
    count: 1,
    capacity: 1,
    periodMs: 0,
    unit: 'messages',
    per: keys.scopes,
    algorithm: 'unchanged',
    exceeded,
    isSelective: rule.when !== undefined || rule.covers !== undefined,
    isShadow: shadowShareOf(rule) === 1,
    shadowShare: shadowShareOf(rule),
    reason: 'unchanged',
    capturesOf: topic => (pattern === undefined ? NO_CAPTURES : captureLevels(pattern, topic)),
  }
}

/**
 * Returns the key under which a rule of a plan counts a message. Returns undefined if the plan lacks the
 * rule, its condition does not match, or an exemption applies, even one with a limit that is used up. Charges
 * nothing.
 */
export function keyUnderRule(
  steps: readonly PlanStep[],
  rule: string,
  message: Message,
  identity: Sender,
  nowMs: number,
): string | undefined {
  for (const step of steps) {
    if (step.kind === 'limits') {
      const planned = step.rules.find(each => each.rule.name === rule)
      if (planned === undefined) continue
      if (!holdsFor(planned.rule, message, nowMs)) return undefined
      return keyWithoutPrefix(planned.rule.keys, keyOf(planned, message, identity))
    } else if (step.kind === 'exempt') {
      const { meta } = step
      if (meta.covers(message.topic, identity) && holdsFor(meta, message, nowMs)) return undefined
    }
  }
  return undefined
}

/** Returns true if an exemption without a limit of its own lets a message pass. Charges nothing. */
export function isExempt(
  steps: readonly PlanStep[],
  message: Message,
  identity: Sender,
  nowMs: number,
): boolean {
  return steps.some(
    step =>
      step.kind === 'exempt' &&
      step.own === undefined &&
      step.meta.covers(message.topic, identity) &&
      holdsFor(step.meta, message, nowMs),
  )
}
