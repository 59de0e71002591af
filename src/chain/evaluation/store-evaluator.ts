import { holdsFor } from '../../conditions/condition.ts'
import { type Decision, PASSED } from '../../core/decision.ts'
import { andThen } from '../../core/maybe-promise.ts'
import type { MaybePromise, Message, Sender } from '../../core/message.ts'
import type { Charge, Store, Verdict } from '../../stores/store.ts'
import type { MiddlewareContext } from '../middleware-types.ts'
import type { ExemptStep, LimitsStep, MiddlewareStep, PlanStep, RuleInPlan } from '../routing/plan-steps.ts'
import { capturesOf, keyOf } from '../rules/rule-key.ts'
import { decideSize } from '../rules/size-limit.ts'
import {
  decideUnchanged,
  type LastPayloads,
  type UnchangedRuleInPlan,
} from '../rules/unchanged-payload-rule.ts'
import type { UsageWarnings } from '../rules/usage-warning.ts'
import type { SenderState } from '../senders/sender-state.ts'
import {
  combineDecisions,
  combineVerdicts,
  type PassDecision,
  passDecisionFor,
  type RuleVerdict,
  shortenWait,
} from './combine-verdicts.ts'
import type { LeasedEvaluator } from './leased-evaluator.ts'

/** Identity of a sender on a topic, and its cached keys by rule index. */
export interface SenderSnapshot {
  readonly identity: Sender
  readonly keys: (string | undefined)[]
}

/** Returns what the message of a sender needs. Why: while its answer is awaited, the state may get another topic. */
export function snapshotOf(senderState: SenderState, message: Message): SenderSnapshot {
  senderState.keys ??= []
  return { identity: senderState.identityOf(message.sender), keys: senderState.keys }
}

/**
 * Evaluates any chain on any store, step by step. Each group of limits is one store call. If the message is
 * refused later, its charges are refunded.
 */
export class StoreEvaluator {
  readonly kind = 'store'
  readonly #steps: readonly PlanStep[]
  readonly #store: Store
  readonly #usageWarnings: UsageWarnings
  readonly #passed: PassDecision
  readonly #lastPayloads: LastPayloads
  /** All `unchanged` rules of the chain; undefined if there are none. */
  readonly #unchanged: readonly UnchangedRuleInPlan[] | undefined
  readonly #leased: LeasedEvaluator | undefined

  /**
   * `passed` is the decision if no rule applies. `leased` decides first, if the steps are only exemptions, maximum sizes
   * and limits.
   */
  constructor(
    steps: readonly PlanStep[],
    store: Store,
    usageWarnings: UsageWarnings,
    passed: PassDecision,
    lastPayloads: LastPayloads,
    leased: LeasedEvaluator | undefined,
  ) {
    this.#leased = leased
    this.#steps = steps
    this.#store = store
    this.#usageWarnings = usageWarnings
    this.#passed = passed
    this.#lastPayloads = lastPayloads
    const unchanged = steps.flatMap(step => (step.kind === 'unchanged' ? step.rules : []))
    this.#unchanged = unchanged.length > 0 ? unchanged : undefined
  }

  decide(message: Message, senderState: SenderState, nowMs: number): MaybePromise<Decision> {
    const decision = this.#leased?.decide(message, senderState, nowMs)
    if (decision !== undefined) return decision
    const sender = snapshotOf(senderState, message)
    return this.#unchanged === undefined
      ? this.#decideFrom(0, message, sender, nowMs)
      : this.#decideAndRecord(this.#unchanged, message, sender, nowMs)
  }

  /** Records each message that passes, also those that an exemption or an override lets pass. */
  #decideAndRecord(
    rules: readonly UnchangedRuleInPlan[],
    message: Message,
    sender: SenderSnapshot,
    nowMs: number,
  ): MaybePromise<Decision> {
    const payloads = this.#lastPayloads
    const { identity } = sender
    // Callers may let a message pass that could not be decided.
    const failed = (cause: unknown): never => {
      payloads.forget(rules, message, identity)
      throw cause
    }
    let answer: MaybePromise<Decision>
    try {
      answer = this.#decideFrom(0, message, sender, nowMs)
    } catch (cause) {
      return failed(cause)
    }
    if (!(answer instanceof Promise)) {
      payloads.record(rules, message, identity, answer, nowMs, false)
      return answer
    }
    payloads.markPending(rules, message, identity)
    return answer.then(decision => {
      payloads.record(rules, message, identity, decision, nowMs, true)
      return decision
    }, failed)
  }

  #decideFrom(
    stepIndex: number,
    message: Message,
    sender: SenderSnapshot,
    nowMs: number,
  ): MaybePromise<Decision> {
    const step = this.#steps[stepIndex]
    if (step === undefined) return passDecisionFor(this.#passed, message, nowMs)
    const next = (): MaybePromise<Decision> => this.#decideFrom(stepIndex + 1, message, sender, nowMs)
    switch (step.kind) {
      case 'custom':
        return step.middleware(message, once(next), contextFor(step, message, sender, nowMs))
      case 'exempt':
        return andThen(this.#askExemption(step, message, sender, nowMs), own => {
          if (own === undefined) return next()
          if (own.allowed) return exemptionDecision(step, own)
          return andThen(next(), decision => shortenWait(decision, exemptionRetryAfterMs(own)))
        })
      case 'sizes': {
        const decision = decideSize(step.rules, message, nowMs)
        if (decision === undefined) return next()
        return decision.allowed ? andThen(next(), later => combineDecisions(decision, later)) : decision
      }
      case 'unchanged': {
        const decision = decideUnchanged(step.rules, this.#lastPayloads, message, sender.identity, nowMs)
        if (decision === undefined) return next()
        return decision.allowed ? andThen(next(), later => combineDecisions(decision, later)) : decision
      }
      case 'limits':
        return this.#charge(step, message, sender, nowMs, next)
      default:
        return step satisfies never
    }
  }

  /** Returns the verdict of an exemption, from its own limit if it has one. Returns undefined if it does not apply. */
  #askExemption(
    step: ExemptStep,
    message: Message,
    sender: SenderSnapshot,
    nowMs: number,
  ): MaybePromise<Verdict | undefined> {
    if (!step.meta.covers(message.topic, sender.identity)) return undefined
    if (!holdsFor(step.meta, message, nowMs)) return undefined
    if (step.own === undefined) return UNBOUNDED
    const charges = [createCharge(step.own, message, sender)]
    return andThen(this.#store.decide(charges, { commit: true, nowMs }), ([own]) => own!)
  }

  #charge(
    step: LimitsStep,
    message: Message,
    sender: SenderSnapshot,
    nowMs: number,
    next: () => MaybePromise<Decision>,
  ): MaybePromise<Decision> {
    const rules = matchingRules(step, message, nowMs)
    if (rules.length === 0) return next()
    const charges = rules.map(planned => createCharge(planned, message, sender))
    return andThen(this.#store.decide(charges, { commit: true, nowMs }), verdicts => {
      const decision = combineStepVerdicts(rules, verdicts)
      if (!decision.allowed) return decision
      this.#warn(rules, charges, verdicts, nowMs)
      return andThen(next(), later => {
        if (later.allowed) return combineDecisions(decision, later)
        const taken = charges.filter((_, index) => verdicts[index]!.allowed)
        return andThen(this.#store.refund(taken), () => combineDecisions(decision, later))
      })
    })
  }

  #warn(
    rules: readonly RuleInPlan[],
    charges: readonly Charge[],
    verdicts: readonly Verdict[],
    nowMs: number,
  ): void {
    for (let index = 0; index < rules.length; index++) {
      const { rule } = rules[index]!
      const verdict = verdicts[index]!
      if (rule.warn === undefined || !verdict.allowed || isUncounted(verdict)) continue
      this.#usageWarnings.record(rule, verdict, () => charges[index]!.key, nowMs)
    }
  }
}

const NO_CONTEXT = undefined as unknown as MiddlewareContext

/** Returns the context of a middleware; undefined if it takes fewer than three parameters. */
function contextFor(
  { middleware, pattern }: MiddlewareStep,
  message: Message,
  { identity }: SenderSnapshot,
  nowMs: number,
): MiddlewareContext {
  if (middleware.length < 3) return NO_CONTEXT
  return { sender: identity, nowMs, captures: capturesOf(pattern, message) }
}

/** Returns the rules of a step whose conditions match a message. */
export function matchingRules({ rules }: LimitsStep, message: Message, nowMs: number): readonly RuleInPlan[] {
  for (let index = 0; index < rules.length; index++) {
    if (!holdsFor(rules[index]!.rule, message, nowMs))
      return rules.filter(({ rule }) => holdsFor(rule, message, nowMs))
  }
  return rules
}

/**
 * Returns the decision of a group of limits; `passed` if no rule applies. Sets `fallback` if the store did
 * not decide.
 */
export function combineStepVerdicts(
  planned: readonly RuleInPlan[],
  verdicts: readonly Verdict[],
  passed: Decision = PASSED,
): Decision {
  const decision = combineVerdicts(
    planned.map(({ rule }, index): RuleVerdict => {
      const { allowed, remaining, retryAfterMs, resetMs } = verdicts[index]!
      return { rule, allowed, remaining, retryAfterMs, resetMs }
    }),
    passed,
  )
  if (!hasFallback(verdicts)) return decision
  const named = planned.findIndex(({ rule }) => rule.name === decision.rule)
  const isUncountedDecision = named < 0 ? verdicts.some(isUncounted) : isUncounted(verdicts[named]!)
  if (!isUncountedDecision) return { ...decision, fallback: true }
  // If nothing was counted, the decision names no rule and the reason is that the store is unavailable.
  const { allowed, outcome, retryAfterMs, shadow } = decision
  const answer: Decision = { allowed, outcome, reason: 'store_unavailable', retryAfterMs, fallback: true }
  return shadow === undefined ? answer : { ...answer, shadow }
}

function hasFallback(verdicts: readonly Verdict[]): boolean {
  for (let index = 0; index < verdicts.length; index++)
    if (verdicts[index]!.fallback !== undefined) return true
  return false
}

function isUncounted({ fallback }: Verdict): boolean {
  return fallback === 'none'
}

/** Verdict of an exemption without a limit of its own. */
const UNBOUNDED: Verdict = Object.freeze({ allowed: true, remaining: 0, retryAfterMs: 0, resetMs: 0 })

/** Returns the decision of an exemption. Sets `fallback` if the store did not count its own limit. */
export function exemptionDecision({ meta: { decision } }: ExemptStep, own: Verdict | undefined): Decision {
  return own?.fallback === undefined ? decision : { ...decision, fallback: true }
}

/** Returns the wait until an exemption's own limit lets a message pass; 0 if it does now. */
export function exemptionRetryAfterMs({ allowed, retryAfterMs }: Verdict): number {
  return allowed ? 0 : Math.max(1, retryAfterMs)
}

/** Returns the charge of a message under a rule, for any store. */
export function createCharge(planned: RuleInPlan, message: Message, sender: SenderSnapshot): Charge {
  const { rule, index } = planned
  let key = sender.keys[index]
  if (key === undefined) {
    key = keyOf(planned, message, sender.identity)
    if (!rule.keys.changing) sender.keys[index] = key
  }
  const { limit, soft, fallback } = rule
  const cost = rule.cost.unitsOf(message)
  return fallback === undefined ? { limit, key, cost, soft } : { limit, key, cost, soft, fallback }
}

function once<T>(run: () => T): () => T {
  let answer: { readonly value: T } | undefined
  return () => {
    answer ??= { value: run() }
    return answer.value
  }
}
