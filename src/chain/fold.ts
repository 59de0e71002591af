import type { Verdict } from '../algorithms/kernel.ts'
import { type Decision, HARSHNESS, PASSED } from '../decision.ts'
import type { Rule } from './limit.ts'

/** Whether a verdict stops the message. */
export function denies(rule: Rule, verdict: Verdict): boolean {
  return !verdict.allowed && !rule.soft
}

/**
 * One decision of the verdicts of one message, rule by rule. Denied: the harshest outcome, among equals the longest
 * wait, and the longest wait of all that denied. Allowed: the rule with the least remaining ÷ limit, the first on a
 * tie; shadow rules are only reported.
 */
export function fold(rules: readonly Rule[], verdicts: readonly Verdict[]): Decision {
  let worst = -1
  let tightest = -1
  let degrading = -1
  let shadowed = false
  let retryAfterMs = 0
  for (let index = 0; index < rules.length; index++) {
    const rule = rules[index]!
    const verdict = verdicts[index]!
    if (rule.shadow) {
      if (!verdict.allowed) shadowed = true
    } else if (verdict.allowed) {
      if (tightest < 0 || isTighter(rule, verdict, rules[tightest]!, verdicts[tightest]!)) tightest = index
    } else if (rule.soft) {
      if (degrading < 0) degrading = index
    } else {
      if (verdict.retryAfterMs > retryAfterMs) retryAfterMs = verdict.retryAfterMs
      if (worst < 0 || isHarsher(rule, verdict, rules[worst]!, verdicts[worst]!)) worst = index
    }
  }
  const named = worst >= 0 ? worst : degrading >= 0 ? degrading : tightest
  const shadow = shadowed ? shadowNames(rules, verdicts) : undefined
  if (named < 0) return shadow === undefined ? PASSED : { ...PASSED, shadow }
  const rule = rules[named]!
  const verdict = verdicts[named]!
  const decision: Decision = {
    allowed: worst < 0,
    outcome: worst >= 0 || degrading >= 0 ? rule.outcome : 'deliver',
    reason: worst >= 0 || degrading >= 0 ? rule.reason : 'ok',
    rule: rule.name,
    limit: rule.limit.capacity,
    remaining: verdict.remaining,
    retryAfterMs,
    resetMs: verdict.resetMs,
  }
  return shadow === undefined ? decision : { ...decision, shadow }
}

function isTighter(rule: Rule, verdict: Verdict, other: Rule, otherVerdict: Verdict): boolean {
  return verdict.remaining * other.limit.capacity < otherVerdict.remaining * rule.limit.capacity
}

function isHarsher(rule: Rule, verdict: Verdict, other: Rule, otherVerdict: Verdict): boolean {
  if (rule.harshness !== other.harshness) return rule.harshness > other.harshness
  return verdict.retryAfterMs > otherVerdict.retryAfterMs
}

function shadowNames(rules: readonly Rule[], verdicts: readonly Verdict[]): readonly string[] {
  return rules.filter((rule, index) => rule.shadow && !verdicts[index]!.allowed).map(rule => rule.name)
}

/**
 * One decision of two stretches of a chain that both were asked: what the later denied stands; of two that allow,
 * the one that degrades, else the one nearer to its limit, the first on a tie.
 */
export function combine(first: Decision, later: Decision): Decision {
  const shadow = first.shadow === undefined ? later.shadow : [...first.shadow, ...(later.shadow ?? [])]
  const chosen = !later.allowed || later.reason === 'exempt' ? later : gentler(first, later)
  return shadow === undefined ? chosen : { ...chosen, shadow }
}

function gentler(first: Decision, later: Decision): Decision {
  if (first.outcome !== later.outcome) {
    return HARSHNESS[first.outcome] > HARSHNESS[later.outcome] ? first : later
  }
  if (first.rule === undefined) return later
  if (later.rule === undefined) return first
  const tighter = later.remaining! * first.limit! < first.remaining! * later.limit!
  return tighter ? later : first
}
