import type { Limit } from '../../algorithms/limit-types.ts'
import { PASSED } from '../../core/decision.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Message, Operation, Sender } from '../../core/message.ts'
import { MemoryStore } from '../../stores/memory/memory-store.ts'
import type { Store } from '../../stores/store.ts'
import { findCapture, type TopicCaptures } from '../../topic/pattern.ts'
import { Router } from '../../topic/router.ts'
import { BehaviourLevelEvaluator } from '../evaluation/behaviour-evaluator.ts'
import type { PassDecision } from '../evaluation/combine-verdicts.ts'
import { ConnectCountingEvaluator } from '../evaluation/connect-counting-evaluator.ts'
import { LeasedEvaluator } from '../evaluation/leased-evaluator.ts'
import { MemoryEvaluator } from '../evaluation/memory-evaluator.ts'
import { StoreEvaluator } from '../evaluation/store-evaluator.ts'
import { isUnconditionalExemption } from '../rules/exemption.ts'
import type { Override } from '../rules/rate-override.ts'
import type { LastPayloads } from '../rules/unchanged-payload-rule.ts'
import type { UsageWarnings } from '../rules/usage-warning.ts'
import { applyOverrides, inThousandthsIfFractional, overriddenRule } from '../senders/apply-overrides.ts'
import type { BehaviourLevel, CompiledBehaviourFactors } from '../senders/behaviour-tracker.ts'
import { scaleStepsByBehaviour } from '../senders/scale-by-behaviour.ts'
import type { SenderResolver } from '../senders/sender-identity-templates.ts'
import {
  type Ban,
  banDecision,
  type EffectiveSettings,
  type SenderRuntimeSettings,
} from '../senders/sender-runtime-settings.ts'
import type {
  BehaviourLevelSteps,
  Evaluator,
  OperationPlan,
  RouteTableInfo,
  SelectiveRule,
  SenderPlan,
  SenderState,
} from '../senders/sender-state.ts'
import { enforceRules, findPartialShadowRules, isEnforcedFor } from './partial-shadow-rules.ts'
import { type ChainEntry, getMiddlewareMeta, type PlanStep, planSteps, recordingOnly } from './plan-steps.ts'
import type { RuleRegistry } from './rule-registry.ts'

interface RoutePlan {
  readonly entries: readonly ChainEntry[]
  readonly actions: Map<Operation, OperationPlan>
}

/** Finds the entries of a chain that apply to a topic. */
export type RouteRouter = Router<RoutePlan>

/** Inputs of a route table. */
export interface RouteTableInputs {
  /** The gate that owns the routes. */
  readonly gate: object
  readonly registry: RuleRegistry
  readonly identity: SenderResolver | undefined
  readonly store: Store
  readonly senderSettings: SenderRuntimeSettings
  readonly usageWarnings: UsageWarnings
  readonly lastPayloads: LastPayloads
}

/** Captured levels of a topic. Of several patterns that capture a name, the first applies. */
class RouteCaptures implements TopicCaptures {
  readonly #entries: readonly ChainEntry[]
  readonly #topic: string

  constructor(entries: readonly ChainEntry[], topic: string) {
    this.#entries = entries
    this.#topic = topic
  }

  get(name: string): string | undefined {
    for (const { pattern } of this.#entries) {
      const level = pattern && findCapture(pattern, this.#topic, name)
      if (level !== undefined) return level
    }
    return undefined
  }
}

/** All routes for one state of the chain. Each change of the chain creates a new table. */
export class TopicRouteTable {
  /** The gate that owns the routes. */
  readonly gate: object
  readonly #chain: RouteTableInputs
  readonly #identity: SenderResolver | undefined
  readonly #router: RouteRouter
  /**
   * Stored in each sender state that this table has resolved. The table itself, or another object if headers identify
   * senders. Why: the gate then compares the headers before it reuses the state of the last message.
   */
  readonly stateRoutes: RouteTableInfo

  constructor(chain: RouteTableInputs, router: RouteRouter) {
    this.gate = chain.gate
    this.stateRoutes =
      chain.identity?.usesHeaders === true ? { canReuseStates: false, gate: chain.gate } : this
    this.#chain = chain
    this.#identity = chain.identity
    this.#router = router
  }

  /** Returns the same routes as a new object, so that every sender resolves its plan again. Compiles nothing. */
  copy(): TopicRouteTable {
    return new TopicRouteTable(this.#chain, this.#router)
  }

  /** Returns the same routes without any plan, so that each is compiled again. */
  withoutPlans(): TopicRouteTable {
    return new TopicRouteTable(this.#chain, this.#router.withoutPlans())
  }

  /** True for states marked by the table itself. */
  readonly canReuseStates = true

  /** Returns a text for the headers that identify the sender of a message; undefined if none do, or if it is too long. */
  headerKeyOf(message: Message): string | undefined {
    return this.stateRoutes === this ? undefined : this.#identity!.headerKeyOf(message)
  }

  /** Returns the patterns that apply to a message, in policy order. Undefined means every topic. */
  patternsOf(message: Message): readonly (string | undefined)[] {
    const applicable = this.#routeOf(message).entries.filter(({ middleware }) => {
      const meta = getMiddlewareMeta(middleware)
      if (meta?.kind === 'size') return meta.size.on === message.on
      if (meta?.kind === 'unchanged') return meta.unchanged.on === message.on
      return meta?.kind !== 'limit' || meta.rule?.on === message.on
    })
    return [...new Set(applicable.map(({ pattern }) => pattern?.text))]
  }

  /**
   * Resolves the plan of a sender for a message's topic and sets it in a state. Returns the pending lookup of the
   * sender's tier, if the plan is that of the tier known so far.
   */
  resolve(senderState: SenderState, message: Message): Promise<void> | undefined {
    const { topic, on } = message
    const route = this.#routeOf(message)
    const plan = this.#actionPlan(route, on)
    const known = this.#identityOf(message, route)
    const effectiveSettings = this.#chain.senderSettings.settingsOf(known)
    const { ban, tier, tierLookup } = effectiveSettings
    // If tiers are defined, unknown names are ignored. Why: otherwise a client could get new counters by
    // inventing names.
    const tierName = this.#chain.senderSettings.tiers === undefined ? known.tier : tier?.name
    const identity = tierName === known.tier ? known : withTier(known, tierName)
    const senderPlan =
      ban === undefined
        ? senderPlanOf(this.#variantFor(plan, message, effectiveSettings, identity), topic, identity)
        : banPlan(ban)
    senderState.setTopic(this.stateRoutes, topic, on, senderPlan, identity)
    // The next message resolves the sender again.
    if (tierLookup !== undefined) senderState.routes = undefined
    return tierLookup
  }

  #routeOf({ topic, on }: Message): RoutePlan {
    return on === 'subscribe' ? this.#router.planOfFilter(topic) : this.#router.planOf(topic)
  }

  #identityOf(message: Message, { entries }: RoutePlan): Sender {
    return this.#identity?.resolve(message, new RouteCaptures(entries, message.topic)) ?? message.sender
  }

  #actionPlan(plan: RoutePlan, on: Operation): OperationPlan {
    let action = plan.actions.get(on)
    if (action === undefined) {
      const steps = inThousandthsIfFractional(planSteps(plan.entries, on), this.#chain.senderSettings.tiers)
      action = this.#planOf(steps, on)
      plan.actions.set(on, action)
    }
    return action
  }

  /** Returns the plan variant for senders with the same overrides, excluded rules and rules out of shadow. */
  #variantFor(
    plan: OperationPlan,
    message: Message,
    effectiveSettings: EffectiveSettings,
    identity: Sender,
  ): OperationPlan {
    const { selective, partial } = plan
    const { on } = message
    const notFor = selective.length === 0 ? selective : selective.filter(rule => !rule.covers!(identity))
    const enforced =
      partial.length === 0 ? partial : partial.filter(rule => isEnforcedFor(rule, message, identity))
    if (effectiveSettings.key === '' && notFor.length === 0 && enforced.length === 0) return plan
    const omitted = notFor.map(rule => selective.indexOf(rule)).join()
    const refusing = enforced.map(rule => partial.indexOf(rule)).join()
    const key = `${omitted}:${refusing}:${effectiveSettings.key}`
    let variant = plan.variants.get(key)
    if (variant === undefined) {
      const rules = enforceRules(withoutRules(plan.steps, notFor), enforced)
      const { steps, passed } = applyOverrides(rules, on, effectiveSettings)
      variant = this.#planOf(steps, on, passed, notFor)
      if (plan.variants.size >= MAX_SIZES.senderPlansPerRoute) plan.variants.clear()
      plan.variants.set(key, variant)
    }
    return variant
  }

  #planOf(
    steps: readonly PlanStep[],
    on: Operation,
    passed: PassDecision = PASSED,
    notFor: readonly SelectiveRule[] = [],
  ): OperationPlan {
    const evaluator = this.#evaluatorFor(steps, on, passed)
    const selective = steps.flatMap(selectiveRules)
    const partial = findPartialShadowRules(steps)
    const exempts = steps.filter(step => step.kind === 'exempt')
    return {
      steps,
      exempts,
      passed,
      evaluator,
      selective,
      partial,
      notFor,
      senderPlans: new Map(),
      variants: new Map(),
    }
  }

  /** Returns the evaluator of a plan, including connect counting and behaviour levels. */
  #evaluatorFor(steps: readonly PlanStep[], on: Operation, passed: PassDecision): Evaluator {
    const { compiledBehaviour, connectCounter, penalty } = this.#chain.senderSettings
    // Deliveries to a client are not its behaviour.
    if (compiledBehaviour !== undefined && on === 'publish')
      return this.#behaviourEvaluator(steps, compiledBehaviour, passed)
    const evaluator = this.#stepsEvaluator(steps, passed)
    const countsConnects = on === 'connect' && penalty !== undefined && penalty.flapping.length > 0
    return countsConnects && connectCounter !== undefined
      ? new ConnectCountingEvaluator(evaluator, connectCounter, penalty)
      : evaluator
  }

  #behaviourEvaluator(
    steps: readonly PlanStep[],
    compiledBehaviour: CompiledBehaviourFactors,
    passed: PassDecision,
  ): BehaviourLevelEvaluator {
    const planOf = (level: BehaviourLevel): BehaviourLevelSteps => {
      const levelSteps = scaleStepsByBehaviour(steps, level, compiledBehaviour)
      return { steps: levelSteps, evaluator: this.#stepsEvaluator(levelSteps, passed) }
    }
    const plans = { good: planOf('good'), usual: planOf('usual'), abusive: planOf('abusive') }
    return new BehaviourLevelEvaluator(plans, this.#chain.senderSettings.behaviourTracker, compiledBehaviour)
  }

  #stepsEvaluator(steps: readonly PlanStep[], passed: PassDecision): MemoryEvaluator | StoreEvaluator {
    const exempts = steps.filter(step => step.kind === 'exempt')
    const last = steps.at(-1)
    const rules = last?.kind === 'limits' ? last.rules : []
    const sizeSteps = steps.filter(step => step.kind === 'sizes')
    const sizes = sizeSteps.flatMap(step => step.rules)
    const fusable = exempts.length + sizeSteps.length + (rules.length > 0 ? 1 : 0) === steps.length
    const { store, usageWarnings, lastPayloads } = this.#chain
    if (fusable && store instanceof MemoryStore)
      return new MemoryEvaluator(exempts, rules, store, usageWarnings, passed, sizes)
    const leased = fusable ? new LeasedEvaluator(sizes, rules, store, usageWarnings, passed) : undefined
    return new StoreEvaluator(steps, store, usageWarnings, passed, lastPayloads, leased)
  }
}

const ACTIONS = [
  'publish',
  'subscribe',
  'connect',
  'deliver',
  'accept',
] as const satisfies readonly Operation[]

/** Entries whose limits are collected in one step. */
const ENTRIES_PER_STEP = 256

/** Returns the limits that the plans of a chain use now, including those changed by overrides. */
export function* collectActiveLimits(
  registry: RuleRegistry,
  senderSettings: SenderRuntimeSettings,
): Generator<void, readonly Limit[]> {
  const { tiers, compiledBehaviour } = senderSettings
  const overrides = distinctOverrides(senderSettings)
  const limits = new Set<Limit>()
  for (const on of ACTIONS) {
    const isWatched = compiledBehaviour !== undefined && on === 'publish'
    for (const entries of divideEntries(registry.entries, on)) {
      yield
      const common = inThousandthsIfFractional(planSteps(entries, on), tiers)
      const overridden = overrides.map(
        each => applyOverrides(common, on, { overrides: [each], key: '' }).steps,
      )
      for (const variant of [common, ...overridden]) {
        const steps = isWatched ? scaleStepsByBehaviour(variant, 'usual', compiledBehaviour) : variant
        for (const step of steps) {
          if (step.kind === 'limits') for (const { rule } of step.rules) limits.add(rule.limit)
          else if (step.kind === 'exempt' && step.own !== undefined) limits.add(step.own.rule.limit)
        }
      }
    }
  }
  for (const { rule } of tiers?.byName.values() ?? []) {
    if (rule === undefined) continue
    for (const each of [[], ...overrides.map(override => [override])]) {
      const limit = overriddenRule(rule, each)?.limit
      if (limit !== undefined) limits.add(limit)
    }
  }
  return [...limits]
}

/**
 * Divides the entries that may count an action. Each part begins with the adaptive middleware that scales its limits.
 */
function* divideEntries(entries: readonly ChainEntry[], on: Operation): Generator<readonly ChainEntry[]> {
  let scale: readonly ChainEntry[] = []
  let part: ChainEntry[] = []
  for (const entry of entries) {
    const meta = getMiddlewareMeta(entry.middleware)
    if (meta?.kind === 'limit' && meta.rule?.on !== on) continue
    if (meta?.kind === 'scale') scale = [entry]
    part.push(entry)
    if (part.length < ENTRIES_PER_STEP) continue
    yield part
    part = [...scale]
  }
  yield part
}

/** Returns one of the overrides in effect for each text and list of rules, up to a maximum. */
function distinctOverrides({ overrides }: SenderRuntimeSettings): readonly Override[] {
  const kinds = new Map<string, Override>()
  for (const override of overrides.values()) {
    if (kinds.size >= MAX_SIZES.overriddenLimits) break
    kinds.set(override.kind, override)
  }
  return [...kinds.values()]
}

/** Builds the router of a chain, an entry a step. */
export function* buildRuleRouter({ dialect, entries }: RuleRegistry): Generator<void, RouteRouter> {
  const router = new Router<RoutePlan>(dialect, ids => ({
    entries: ids.map(id => entries[id]!),
    actions: new Map(),
  }))
  for (const [id, { pattern }] of entries.entries()) {
    router.add(pattern, id)
    yield
  }
  return router
}

function selectiveRules(step: PlanStep): readonly SelectiveRule[] {
  if (step.kind === 'sizes') return step.rules.filter(({ covers }) => covers !== undefined)
  if (step.kind === 'unchanged')
    return step.rules.map(({ rule }) => rule).filter(({ covers }) => covers !== undefined)
  if (step.kind !== 'limits') return []
  return step.rules.map(({ rule }) => rule).filter(({ covers }) => covers !== undefined)
}

/** Returns the steps of a route without the given rules. */
function withoutRules(steps: readonly PlanStep[], omitted: readonly SelectiveRule[]): readonly PlanStep[] {
  if (omitted.length === 0) return steps
  return steps.flatMap((step): readonly PlanStep[] => {
    if (step.kind === 'sizes') {
      const sizes = step.rules.filter(rule => !omitted.includes(rule))
      return sizes.length === 0 ? [] : [{ ...step, rules: sizes }]
    }
    if (step.kind === 'unchanged') return [recordingOnly(step, ({ rule }) => omitted.includes(rule))]
    if (step.kind !== 'limits') return [step]
    const rules = step.rules.filter(({ rule }) => !omitted.includes(rule))
    return rules.length === 0 ? [] : [{ ...step, rules }]
  })
}

function withTier(sender: Sender, tier: string | undefined): Sender {
  const { client, user, device, apiKey, ip, roles } = sender
  return { client, user, device, apiKey, ip, roles, tier } as Sender
}

/** Returns the plan of a banned sender. */
function banPlan(ban: Ban): SenderPlan {
  const evaluator = {
    kind: 'banned',
    ban,
    decide: (_message: Message, _senderState: SenderState, nowMs: number) => banDecision(ban, nowMs),
  } as const
  const plan: OperationPlan = {
    steps: [],
    exempts: [],
    passed: PASSED,
    evaluator,
    selective: [],
    partial: [],
    notFor: [],
    senderPlans: new Map(),
    variants: new Map(),
  }
  return { evaluator, plan, conditional: [], exempt: undefined }
}

/** Returns the plan of a sender; one for each set of exemptions that cover it. */
function senderPlanOf(plan: OperationPlan, topic: string, identity: Sender): SenderPlan {
  const { exempts } = plan
  let shape = ''
  for (let index = 0; index < exempts.length; index++)
    if (exempts[index]!.meta.covers(topic, identity)) shape += `${index},`
  let senderPlan = plan.senderPlans.get(shape)
  if (senderPlan === undefined) {
    const { evaluator } = plan
    const covering = exempts.filter(({ meta }) => meta.covers(topic, identity))
    const firstUnconditional = covering.findIndex(({ meta }) => isUnconditionalExemption(meta))
    const buckets = covering.length === 0 && evaluator.kind === 'memory' ? evaluator.buckets : undefined
    senderPlan = {
      evaluator: buckets ?? evaluator,
      plan,
      conditional: firstUnconditional < 0 ? covering : covering.slice(0, firstUnconditional),
      exempt: covering[firstUnconditional]?.meta.decision,
    }
    if (plan.senderPlans.size >= MAX_SIZES.senderPlansPerRoute) plan.senderPlans.clear()
    plan.senderPlans.set(shape, senderPlan)
  }
  return senderPlan
}
