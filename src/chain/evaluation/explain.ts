import { type ConditionSpec, holdsFor } from '../../conditions/condition.ts'
import type { Decision, Scaled } from '../../core/decision.ts'
import { andThen } from '../../core/maybe-promise.ts'
import type { MaybePromise, Message, Sender } from '../../core/message.ts'
import type { Store, Verdict } from '../../stores/store.ts'
import type { ExemptStep, PlanStep, RuleInPlan } from '../routing/plan-steps.ts'
import type { Rule } from '../rules/create-limit-middleware.ts'
import { describeKey, keyWithoutPrefix } from '../rules/key-scope.ts'
import type { ExemptOptions } from '../rules/rule-options.ts'
import type { SenderMatchLists } from '../rules/sender-filter.ts'
import { decideSize, type SizeRule } from '../rules/size-limit.ts'
import {
  decideUnchanged,
  type LastPayloads,
  type UnchangedRuleInPlan,
} from '../rules/unchanged-payload-rule.ts'
import { shareOfUnits } from '../senders/scale-by-behaviour.ts'
import type { OperationPlan, SenderState } from '../senders/sender-state.ts'
import { combineDecisions, passDecisionFor, shortenWait } from './combine-verdicts.ts'
import {
  combineStepVerdicts,
  createCharge,
  exemptionDecision,
  exemptionRetryAfterMs,
  matchingRules,
  type SenderSnapshot,
  snapshotOf,
} from './store-evaluator.ts'

/** An exemption, evaluated for one message. */
export interface ExemptionTrace {
  readonly name: string | undefined
  readonly options: ExemptOptions
  /** True if its lists cover the sender and topic. */
  readonly covers: boolean
  /** True if its `when` matches the message. */
  readonly holds: boolean
  /** Its own limit, if it has one that was evaluated. */
  readonly own: LimitTrace | undefined
  readonly exempts: boolean
}

/** A limit, evaluated for one message. Nothing was charged. */
export interface LimitTrace extends Verdict {
  readonly rule: string
  readonly pattern: string | undefined
  readonly per: readonly string[]
  readonly key: string
  /** Readable key, such as `site=berlin, device=d7`. */
  readonly counter: string
  readonly cost: number
  readonly limit: number
  /** Unit of cost, limit and remaining units. */
  readonly unit: 'messages' | 'bytes'
  /** True if the rule only reports about this sender. */
  readonly shadow: boolean
  /** Share of the senders for which the rule is in shadow, if not all or none. */
  readonly shadowShare?: number | undefined
  readonly algorithm: string
  /** Factor that `limit` was multiplied by. */
  readonly scaled?: Scaled | undefined
}

/** A maximum size, evaluated for one message. */
export interface SizeTrace {
  readonly rule: string
  readonly maxBytes: number
  readonly allowed: boolean
  /** True if the rule only reports about this sender. */
  readonly shadow: boolean
  /** Share of the senders for which the rule is in shadow, if not all or none. */
  readonly shadowShare?: number | undefined
}

/** An `unchanged` rule, evaluated for one message. */
export interface UnchangedTrace {
  readonly rule: string
  readonly allowed: boolean
  /** True if the rule only reports about this sender. */
  readonly shadow: boolean
  /** Share of the senders for which the rule is in shadow, if not all or none. */
  readonly shadowShare?: number | undefined
}

/** A rule of the route that does not apply to the message. */
export interface SkippedRule {
  readonly rule: string
  /** The part of the rule that excludes the message. */
  readonly by: 'when' | 'for'
  readonly when?: ConditionSpec | undefined
  readonly for?: SenderMatchLists | undefined
}

/** Description of how a rate by feedback, a breaker or a limit of held items treats one message. */
export interface HandlerTrace {
  readonly name: string
  readonly description: string
}

/** Every step for one message. */
export interface Explanation {
  readonly topic: string
  readonly sender: Sender
  /** Ban of the sender. If set, nothing else is evaluated. */
  readonly ban?: { readonly id: string; readonly reason: string } | undefined
  /** Patterns that match the topic, in policy order. Undefined means every topic. */
  readonly patterns: readonly (string | undefined)[]
  readonly exemptions: readonly ExemptionTrace[]
  readonly limits: readonly LimitTrace[]
  /** Maximum sizes, evaluated before the limits. */
  readonly sizes: readonly SizeTrace[]
  /** Rules that compare the payload with the last one, evaluated before the limits. */
  readonly unchanged: readonly UnchangedTrace[]
  /** Rules of the route that do not apply to the message. */
  readonly skipped: readonly SkippedRule[]
  /** Middleware that uses handler results: adaptive rates and breakers. */
  readonly handlers: readonly HandlerTrace[]
  /** Limits of held items, each with the current amount. */
  readonly held: readonly HandlerTrace[]
  /** Number of custom middleware functions. An explanation does not call them. */
  readonly custom: number
  readonly decision: Decision
}

/** Evaluates all steps of a plan without charging anything. */
export async function explainPlan(
  { steps, evaluator, passed, notFor }: Pick<OperationPlan, 'steps' | 'evaluator' | 'passed' | 'notFor'>,
  store: Store,
  lastPayloads: LastPayloads,
  message: Message,
  senderState: SenderState,
  nowMs: number,
): Promise<Omit<Explanation, 'patterns' | 'held'>> {
  const sender = snapshotOf(senderState, message)
  const exemptions: ExemptionTrace[] = []
  const rules: RuleInPlan[] = []
  const skipped = notFor.map(({ name, forLists }): SkippedRule => ({ rule: name, by: 'for', for: forLists }))
  const sizes: SizeRule[] = []
  const unchanged: UnchangedRuleInPlan[] = []
  const skipUnlessMeant = (rule: Pick<Rule, 'name' | 'when' | 'whenSpec'>): boolean => {
    const isMeant = holdsFor(rule, message, nowMs)
    if (!isMeant) skipped.push({ rule: rule.name, by: 'when', when: rule.whenSpec })
    return isMeant
  }
  for (const step of steps) {
    if (step.kind === 'sizes') sizes.push(...step.rules.filter(skipUnlessMeant))
    else if (step.kind === 'unchanged')
      unchanged.push(...step.rules.filter(({ rule, isAsked }) => isAsked && skipUnlessMeant(rule)))
    else if (step.kind === 'exempt')
      exemptions.push(await traceExemption(step, store, message, sender, nowMs))
    else if (step.kind === 'limits') {
      rules.push(...step.rules.filter(({ rule }) => skipUnlessMeant(rule)))
    }
  }
  const verdicts = await peekVerdicts(rules, store, message, sender, nowMs)
  const custom = steps.filter(step => step.kind === 'custom')
  const exempting = steps
    .filter(step => step.kind === 'exempt')
    .flatMap((step, index) =>
      exemptions[index]!.exempts ? [exemptionDecision(step, exemptions[index]!.own)] : [],
    )
  return {
    topic: message.topic,
    sender: sender.identity,
    ban: evaluator.kind === 'banned' ? { id: evaluator.ban.id, reason: evaluator.ban.reason } : undefined,
    exemptions,
    skipped,
    sizes: sizes.map(({ name, maxBytes, shadow, partialShadow }) => ({
      rule: name,
      maxBytes,
      allowed: message.size <= maxBytes,
      shadow,
      shadowShare: partialShadow?.share,
    })),
    unchanged: unchanged.map(planned => ({
      rule: planned.rule.name,
      allowed: lastPayloads.waitOf(planned, message, sender.identity, nowMs) === undefined,
      shadow: planned.rule.shadow,
      shadowShare: planned.rule.partialShadow?.share,
    })),
    limits: rules.map((planned, index) => trace(planned, verdicts[index]!, message, sender)),
    handlers: custom.flatMap(({ handler }) =>
      handler === undefined ? [] : [{ name: handler.name, description: handler.describe(message) }],
    ),
    custom: custom.filter(({ handler }) => handler === undefined).length,
    decision:
      evaluator.kind === 'banned'
        ? evaluator.decide(message, senderState, nowMs)
        : (exempting[0] ??
          (evaluator.kind === 'connect' ? evaluator.peek(message, senderState, nowMs) : undefined) ??
          shortenWait(
            custom.map(({ handler }) => handler?.refusal(message)).find(refused => refused !== undefined) ??
              combineSized(decideSize(sizes, message, nowMs), () =>
                combineSized(decideUnchanged(unchanged, lastPayloads, message, sender.identity, nowMs), () =>
                  combineStepVerdicts(rules, verdicts, passDecisionFor(passed, message, nowMs)),
                ),
              ),
            Math.min(
              ...exemptions.map(({ own }) => (own === undefined ? Infinity : exemptionRetryAfterMs(own))),
            ),
          )),
  }
}

/** Combines the decision of rules that count nothing with that of the rules behind them, unless it is a refusal. */
function combineSized(sized: Decision | undefined, count: () => Decision): Decision {
  if (sized === undefined) return count()
  return sized.allowed ? combineDecisions(sized, count()) : sized
}

/**
 * Returns one decision for each rule, or that of the exemption that lets the message pass. Maximum sizes and
 * `unchanged` rules appear only if they refuse. Charges nothing.
 */
export function peekSteps(
  steps: readonly PlanStep[],
  store: Store,
  lastPayloads: LastPayloads,
  message: Message,
  senderState: SenderState,
  nowMs: number,
): MaybePromise<readonly Decision[]> {
  const sender = snapshotOf(senderState, message)
  const exempts = steps.filter(step => step.kind === 'exempt')
  const rules = steps.flatMap(step => (step.kind === 'limits' ? matchingRules(step, message, nowMs) : []))
  const refused = steps.flatMap(step => {
    const decision =
      step.kind === 'sizes'
        ? decideSize(step.rules, message, nowMs)
        : step.kind === 'unchanged'
          ? decideUnchanged(step.rules, lastPayloads, message, sender.identity, nowMs)
          : undefined
    return decision?.rule === undefined ? [] : [decision]
  })
  const peekFrom = (stepIndex: number, exemptAfterMs: number): MaybePromise<readonly Decision[]> => {
    const step = exempts[stepIndex]
    if (step === undefined) {
      return andThen(peekVerdicts(rules, store, message, sender, nowMs), verdicts =>
        [
          ...refused,
          ...rules.map((planned, index) => combineStepVerdicts([planned], [verdicts[index]!])),
        ].map(decision => shortenWait(decision, exemptAfterMs)),
      )
    }
    if (!step.meta.covers(message.topic, sender.identity) || !holdsFor(step.meta, message, nowMs)) {
      return peekFrom(stepIndex + 1, exemptAfterMs)
    }
    if (step.own === undefined) return [step.meta.decision]
    return andThen(peekVerdicts([step.own], store, message, sender, nowMs), ([own]) =>
      own!.allowed
        ? [exemptionDecision(step, own)]
        : peekFrom(stepIndex + 1, Math.min(exemptAfterMs, exemptionRetryAfterMs(own!))),
    )
  }
  return peekFrom(0, Infinity)
}

function peekVerdicts(
  rules: readonly RuleInPlan[],
  store: Store,
  message: Message,
  sender: SenderSnapshot,
  nowMs: number,
): MaybePromise<readonly Verdict[]> {
  if (rules.length === 0) return []
  const charges = rules.map(planned => createCharge(planned, message, sender))
  return andThen(store.decide(charges, { commit: false, nowMs }), verdicts =>
    verdicts.map(each => ({ ...each })),
  )
}

async function traceExemption(
  step: ExemptStep,
  store: Store,
  message: Message,
  sender: SenderSnapshot,
  nowMs: number,
): Promise<ExemptionTrace> {
  const { meta } = step
  const covers = meta.covers(message.topic, sender.identity)
  const holds = holdsFor(meta, message, nowMs)
  const [own] =
    covers && holds && step.own ? await peekVerdicts([step.own], store, message, sender, nowMs) : []
  return {
    name: meta.name,
    options: meta.options,
    covers,
    holds,
    own: own && step.own && trace(step.own, own, message, sender),
    exempts: covers && holds && (own?.allowed ?? true),
  }
}

/** Returns a limit and its remainder, multiplied by the share of a behaviour level. */
function scaleToShare(
  limit: number,
  remaining: number,
  limitShare: number,
): Pick<LimitTrace, 'limit' | 'remaining'> {
  return {
    limit: Math.max(1, shareOfUnits(limit, limitShare)),
    remaining: shareOfUnits(remaining, limitShare),
  }
}

function trace(planned: RuleInPlan, verdict: Verdict, message: Message, sender: SenderSnapshot): LimitTrace {
  const { rule, pattern } = planned
  const { key, cost } = createCharge(planned, message, sender)
  return {
    rule: rule.name,
    pattern: pattern?.text,
    per: rule.keys.scopes,
    key: keyWithoutPrefix(rule.keys, key),
    counter: describeKey(rule.keys.scopes, keyWithoutPrefix(rule.keys, key)),
    cost,
    limit: rule.limit.capacity,
    unit: rule.unit,
    shadow: rule.shadow,
    shadowShare: rule.partialShadow?.share,
    algorithm: rule.limit.algorithm,
    scaled: rule.scaled,
    ...verdict,
    ...(rule.limitShare === undefined
      ? {}
      : scaleToShare(rule.limit.capacity, verdict.remaining, rule.limitShare)),
  }
}
