import type { Limit } from '../algorithms/limit-types.ts'
import type { Middleware } from '../chain/middleware-types.ts'
import { operationPlanForSender } from '../chain/routing/operation-plan-for-sender.ts'
import { getMiddlewareMeta } from '../chain/routing/plan-steps.ts'
import {
  buildRuleRouter,
  collectActiveLimits,
  type RouteRouter,
  TopicRouteTable,
} from '../chain/routing/route-table.ts'
import { RuleRegistry } from '../chain/routing/rule-registry.ts'
import { compilePenalty, type PenaltySpec } from '../chain/rules/compile-penalty.ts'
import type { Rule } from '../chain/rules/create-limit-middleware.ts'
import type { LoadSources } from '../chain/rules/load-source-registry.ts'
import {
  nameOverriddenLimit,
  overrideAppliesToRule,
  overrideCounterPrefix,
} from '../chain/rules/rate-override.ts'
import { carryOverReloadStates, type StateKeptAcrossReload } from '../chain/rules/reload-state.ts'
import { isExempt } from '../chain/rules/rule-info.ts'
import { compareAge } from '../chain/rules/runtime-entry-order.ts'
import { compileTiers, type TiersSpec } from '../chain/rules/tiers.ts'
import { LastPayloads } from '../chain/rules/unchanged-payload-rule.ts'
import { UsageWarnings } from '../chain/rules/usage-warning.ts'
import { type BehaviourFactorsSpec, compileBehaviour } from '../chain/senders/behaviour-tracker.ts'
import { SenderRuntimeSettings } from '../chain/senders/sender-runtime-settings.ts'
import { findOwnSenderState, SenderState } from '../chain/senders/sender-state.ts'
import { SenderStateCache } from '../chain/senders/sender-state-cache.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { checkWithPathPrefix } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { LoopTurns, runAtOnce } from '../core/loop-turns.ts'
import { type Dialect, type Message, type Sender, validateMessage } from '../core/message.ts'
import type { CompiledPolicy } from '../policy/compiled-policy-types.ts'
import type { StateSelector, Store } from '../stores/store.ts'
import { type Pattern, parsePattern } from '../topic/pattern.ts'
import { AdaptiveMiddlewareLifecycle } from './adaptive-middleware-lifecycle.ts'
import { checkSameDialect } from './check-store-support.ts'
import { StoreClusterLoad } from './cluster-load.ts'
import type { AddedExemption } from './entry-types.ts'
import type { GateEmitter } from './gate-emitter.ts'
import type { GateStats } from './gate-stats.ts'
import { HandlerMonitor } from './handler-monitor.ts'
import { ResourceCounts } from './resource-counts.ts'
import type { TierLookupOptions } from './tier-cache.ts'

/** Maximum number of store calls that one reset runs at the same time. */
const MAX_CONCURRENT_FORGETS = 64

/** The parts of a gate that the active chain uses. The gate itself owns the sender states. */
interface ChainHost {
  readonly clock: Clock
  readonly logger: Logger
  readonly store: Store
  readonly loadSources: LoadSources
}

/** Options of senders and limits. A policy that defines tiers, penalties or behaviour takes precedence. */
export interface ChainOptions {
  readonly dialect?: Dialect | undefined
  /** Fixed load for adaptive limits instead of a measured one, 0 to 1. `none`: limits apply as written. */
  readonly load?: number | 'none' | undefined
  /** Tiers. `{}` uses the five defaults. */
  readonly tiers?: TiersSpec | undefined
  /** Function that looks up the tier of a sender. */
  readonly tierOf?: TierLookupOptions | TierLookupOptions['of'] | undefined
  readonly penalties?: PenaltySpec | undefined
  /** Limits that depend on the sender's behaviour. `{}` uses the default factors 1.2 and 0.3. */
  readonly behaviour?: BehaviourFactorsSpec | undefined
}

/** The parts of a policy that stay in use while it is in force. */
type ActivePolicy = Omit<CompiledPolicy, 'dialect' | 'store' | 'senders' | 'rules' | 'exemptions'>

/** The chain in force at a gate, and the plan of each sender under it. */
export class GateChain {
  /** Rebuilt after every change of the chain, which invalidates all sender states. Never null in a new sender state. */
  routes: TopicRouteTable | null = null
  registry: RuleRegistry
  /** Middleware added with `Gate.use`; runs after the policy's own. */
  readonly used: { readonly pattern: Pattern | undefined; readonly middleware: Middleware }[] = []
  /** Exemptions added at run time, by name. Call `rebuild` after a change. */
  readonly runtimeExemptions = new Map<string, AddedExemption>()
  /** Bans, overrides, tiers and behaviour of senders. Call `invalidatePlans` after a change. */
  readonly senderSettings = new SenderRuntimeSettings()
  readonly handlerMonitor: HandlerMonitor
  readonly held: ResourceCounts
  /** Payloads that `unchanged` rules compare with. They survive every change of the chain. */
  readonly lastPayloads = new LastPayloads()
  readonly #gate: ChainHost
  readonly #senderStates: SenderStateCache
  readonly #usageWarnings: UsageWarnings
  readonly #adaptiveLifecycle: AdaptiveMiddlewareLifecycle
  readonly #codeOptions: Pick<CompiledPolicy, 'tiers' | 'penalty' | 'compiledBehaviour'>
  #policy: ActivePolicy | undefined
  /** Router of `registry`, if it was prepared. */
  #router: RouteRouter | undefined
  /** Incremented when `Gate.use` or a runtime exemption changes the chain. */
  #version = 0
  /** Number of reports of limits to the store. */
  #limitReports = 0
  /** True once any message was decided. */
  #isRouted = false

  /** Throws PolicyError. */
  constructor(gate: ChainHost, emitter: GateEmitter, options: ChainOptions) {
    const { clock, logger, store, loadSources } = gate
    this.#gate = gate
    this.#senderStates = new SenderStateCache(gate)
    this.#codeOptions = {
      tiers: checkWithPathPrefix('tiers', () => compileTiers(options.tiers ?? (options.tierOf && {}))),
      penalty: checkWithPathPrefix('penalties', () => compilePenalty(options.penalties)),
      compiledBehaviour: checkWithPathPrefix('behaviour', () => compileBehaviour(options.behaviour)),
    }
    this.#usageWarnings = new UsageWarnings(warning => emitter.emit('warning', warning))
    this.handlerMonitor = new HandlerMonitor(clock, logger, message => this.identityOf(message))
    this.held = new ResourceCounts({
      senderOf: message => this.identityOf(message),
      isExempt: message => this.#isExempt(message),
      report: (decision, message) => {
        if (!emitter.hasDecisionListeners) return
        emitter.emitDecision(decision, message, this.resolveWithoutLookup(message))
      },
    })
    const { sharedEntries } = store
    this.#adaptiveLifecycle = new AdaptiveMiddlewareLifecycle({
      clock,
      logger,
      loadSources,
      load: options.load,
      onHandled: listener => this.handlerMonitor.on(listener),
      join: (node, everyMs) =>
        sharedEntries && new StoreClusterLoad({ sharedEntries, clock, logger, node, everyMs }),
      changed: scaled => {
        this.routes = this.routes?.withoutPlans() ?? null
        this.#reportLimits()
        emitter.emit('scaled', scaled)
        emitter.emit('changed')
      },
    })
    this.registry = runAtOnce(this.#buildRegistry(undefined, options.dialect ?? 'mqtt'))
    this.#setSenderOptions()
  }

  /**
   * Puts the chain of a policy in force, with the entries added in code and at run time. Prepares it in turns of the
   * event loop, while the old chain decides, and then replaces that at once. Resolves with the names of removed rules.
   * Rejects with PolicyError and changes nothing if the chain is invalid.
   */
  async apply(policy: CompiledPolicy): Promise<readonly string[]> {
    const { dialect, identity, adaptive, entries, tiers, penalty, compiledBehaviour } = policy
    const active = { identity, adaptive, entries, tiers, penalty, compiledBehaviour }
    const turns = new LoopTurns()
    for (;;) {
      if (this.used.length > 0) checkSameDialect(policy, this.registry.dialect)
      const version = this.#version
      const registry = await turns.run(this.#buildRegistry(active, dialect))
      const router = await turns.run(buildRuleRouter(registry))
      // Otherwise entries were added meanwhile.
      if (version !== this.#version) continue
      const removed = this.#activate(active, registry, router)
      await this.#reportLimitsInTurns(turns)
      return removed
    }
  }

  #activate(
    policy: ActivePolicy | undefined,
    registry: RuleRegistry,
    router: RouteRouter | undefined,
  ): readonly string[] {
    const before = this.registry
    this.registry = registry
    this.#policy = policy
    this.#router = router
    this.routes = null
    this.#setSenderOptions()
    carryOverReloadStates(reloadStates(before), reloadStates(this.registry))
    this.handlerMonitor.setEntries(this.registry.statefulEntries)
    this.held.setEntries(this.registry.statefulEntries)
    this.#retainPayloads()
    const { names } = registry
    return [...before.names].filter(name => !names.has(name))
  }

  /** Builds the chain again after a change of runtime exemptions. Throws PolicyError and changes nothing if it is invalid. */
  rebuild(): void {
    this.#version++
    this.#activate(
      this.#policy,
      runAtOnce(this.#buildRegistry(this.#policy, this.registry.dialect)),
      undefined,
    )
    this.#reportLimits()
  }

  /** Returns the state of adaptive limits, feedback and circuit breakers. */
  stats(): Pick<GateStats, 'adaptive' | 'handlers'> {
    return {
      adaptive: this.#adaptiveLifecycle.stats(this.registry.entries),
      handlers: this.handlerMonitor.stats(),
    }
  }

  /** Stops measuring load. */
  close(): void {
    this.#adaptiveLifecycle.close()
  }

  /**
   * Builds a chain, an entry a step: runtime exemptions, the policy's entries, entries added in code, and the limits of
   * tiers. Throws PolicyError.
   */
  *#buildRegistry(policy: ActivePolicy | undefined, dialect: Dialect): Generator<void, RuleRegistry> {
    const registry = new RuleRegistry(dialect)
    // Sorted by age, because nodes receive them in any order.
    for (const { middleware } of [...this.runtimeExemptions.values()].sort(compareAge))
      registry.add(undefined, middleware, true)
    if (policy?.adaptive !== undefined) registry.add(undefined, policy.adaptive)
    for (const entries of [policy?.entries ?? [], this.used]) {
      for (const { pattern, middleware } of entries) {
        registry.add(pattern, middleware)
        yield
      }
    }
    const tiers = policy?.tiers ?? this.#codeOptions.tiers
    for (const { rule } of tiers?.byName.values() ?? []) if (rule !== undefined) registry.addTier(rule)
    return registry
  }

  /** Sets the tiers, penalty and behaviour of the policy in force. */
  #setSenderOptions(): void {
    const policy = this.#policy
    const { tiers, penalty, compiledBehaviour } = this.#codeOptions
    this.senderSettings.tiers = policy?.tiers ?? tiers
    this.senderSettings.compiledBehaviour = policy?.compiledBehaviour ?? compiledBehaviour
    this.senderSettings.penalty = policy?.penalty ?? penalty
  }

  /** Forgets the payloads of `unchanged` rules that are gone or disabled, or have another topic or scope. */
  #retainPayloads(): void {
    if (this.lastPayloads.size === 0) return
    const rules = this.registry.statefulEntries.flatMap(({ pattern, middleware }) => {
      const meta = getMiddlewareMeta(middleware)
      return meta?.kind === 'unchanged' && meta.enabled ? [{ rule: meta.unchanged, pattern }] : []
    })
    this.lastPayloads.retain(rules)
  }

  /** Forgets the payload that `unchanged` rules have recorded last for a message's topic. */
  forgetPayload(message: Message): void {
    if (this.lastPayloads.size === 0) return
    const senderState = this.resolveWithoutLookup(message)
    const rules = operationPlanForSender(senderState, this.#gate.clock.now()).steps.flatMap(step =>
      step.kind === 'unchanged' ? step.rules : [],
    )
    this.lastPayloads.forget(rules, message, senderState.identity)
  }

  /** Forgets counts, including the separate counts of overrides. Returns the number of keys. */
  async reset(selector: StateSelector): Promise<number> {
    let count = await this.#gate.store.forget(selector)
    if (selector.key === undefined) count += this.lastPayloads.forgetRule(selector.rule)
    const rule = selector.rule === undefined ? undefined : this.registry.countedRule(selector.rule)
    const selectors = rule === undefined ? [] : overrideSelectors(this.senderSettings, rule, selector.key)
    for (let first = 0; first < selectors.length; first += MAX_CONCURRENT_FORGETS) {
      const some = selectors.slice(first, first + MAX_CONCURRENT_FORGETS)
      for (const forgotten of await Promise.all(some.map(each => this.#gate.store.forget(each))))
        count += forgotten
    }
    return count
  }

  /** Returns the refusal of a banned sender, as far as its connect identifies it. */
  banOf(sender: Sender): Decision | undefined {
    if (this.senderSettings.bans.isEmpty) return undefined
    const message: Message = { topic: 'connect', on: 'connect', sender, size: 0 }
    const senderState = new SenderState(sender, sender)
    // Bans do not depend on the tier, so a pending lookup does not matter.
    this.currentRoutes().resolve(senderState, message)
    const { evaluator } = senderState.senderPlan!
    return evaluator.kind === 'banned'
      ? evaluator.decide(message, senderState, this.#gate.clock.now())
      : undefined
  }

  /** Counts a connect once its sender is authenticated. Returns the refusal if it is one too many. */
  confirmConnect(message: Message): Decision | undefined {
    const senderState = this.resolveWithoutLookup(message)
    const nowMs = this.#gate.clock.now()
    const { evaluator } = operationPlanForSender(senderState, nowMs)
    if (evaluator.kind === 'banned') return evaluator.decide(message, senderState, nowMs)
    return evaluator.kind === 'connect' ? evaluator.confirm(message, senderState, nowMs) : undefined
  }

  /** True if refusals have to be recorded for penalties. */
  get hasPenalties(): boolean {
    return this.senderSettings.penalty !== undefined || this.registry.hasPenalties
  }

  /** Adds to the chain in force. Throws PolicyError. */
  add(pattern: string | undefined, middleware: Middleware): void {
    const parsed = pattern === undefined ? undefined : parsePattern(pattern, this.registry.dialect)
    this.registry.add(parsed, middleware)
    this.used.push({ pattern: parsed, middleware })
    this.#version++
    this.#router = undefined
    this.routes = null
    this.handlerMonitor.setEntries(this.registry.statefulEntries)
    this.held.setEntries(this.registry.statefulEntries)
  }

  /** Reports the limits now in force to the store. */
  #reportLimits(): void {
    const { store, clock } = this.#gate
    if (store.adopt !== undefined) store.adopt(runAtOnce(this.#collectLimits()), clock.now())
  }

  /** Reports them in turns of the event loop, as of now. A later report replaces one in progress. */
  async #reportLimitsInTurns(turns: LoopTurns): Promise<void> {
    const { store, clock } = this.#gate
    if (store.adopt === undefined) return
    const nowMs = clock.now()
    const steps = this.#collectLimits()
    const count = this.#limitReports
    const limits = await turns.run(steps)
    if (count === this.#limitReports) store.adopt(limits, nowMs)
  }

  #collectLimits(): Generator<void, readonly Limit[]> {
    this.#limitReports++
    // Why: an adaptive limit that continues under a new policy needs its factor at once.
    if (this.#isRouted) this.#adaptiveLifecycle.setEntries(this.registry.statefulEntries)
    return collectActiveLimits(this.registry, this.senderSettings)
  }

  /** Makes every sender resolve its plan again before its next message. Compiles nothing. */
  invalidatePlans(): void {
    this.routes = this.routes?.copy() ?? null
  }

  /**
   * Returns the state of a message's sender for the message's topic. While the sender's tier is being looked up,
   * returns that lookup; the caller waits and resolves the sender again. Why: a state changes with each message of
   * the sender, so a promise of it would be outdated.
   */
  resolveSender(message: Message): SenderState | Promise<void> {
    const routes = this.currentRoutes()
    const senderState = this.#stateOf(message, routes)
    if (senderState.routes === routes.stateRoutes) return senderState
    return routes.resolve(senderState, message) ?? senderState
  }

  /** Returns the same state at once. While the tier is being looked up, the one known so far applies. */
  resolveWithoutLookup(message: Message): SenderState {
    const routes = this.currentRoutes()
    const senderState = this.#stateOf(message, routes)
    if (senderState.routes !== routes.stateRoutes) routes.resolve(senderState, message)
    return senderState
  }

  /** Returns the sender of a message with the parts that the policy adds. */
  identityOf(message: Message): Sender {
    return this.resolveWithoutLookup(message).identityOf(message.sender)
  }

  currentRoutes(): TopicRouteTable {
    if (this.routes === null) this.#adaptiveLifecycle.setEntries(this.registry.statefulEntries)
    this.#isRouted = true
    this.#router ??= runAtOnce(buildRuleRouter(this.registry))
    this.routes ??= new TopicRouteTable(
      {
        gate: this.#gate,
        registry: this.registry,
        identity: this.#policy?.identity,
        store: this.#gate.store,
        senderSettings: this.senderSettings,
        usageWarnings: this.#usageWarnings,
        lastPayloads: this.lastPayloads,
      },
      this.#router,
    )
    return this.routes
  }

  /** Returns the state for the topic of a message. Its routes are outdated if it must be resolved. */
  #stateOf(message: Message, routes: TopicRouteTable): SenderState {
    const { topic, on, sender } = message
    const { stateRoutes } = routes
    if (typeof sender !== 'object') validateMessage(message)
    const headerKey = routes.headerKeyOf(message)
    // Without a key, the headers that identify the sender are too long to be remembered.
    if (headerKey === undefined && stateRoutes !== routes) return new SenderState(sender, sender)
    const senderState =
      findOwnSenderState(sender, this.#gate) ?? this.#senderStates.stateOf(sender, message.topic)
    const known = senderState.routes === stateRoutes ? senderState.findTopic(topic, on, headerKey) : undefined
    if (known !== undefined) return known
    validateMessage(message)
    const unresolved = senderState.stateForNewTopic(stateRoutes, topic)
    unresolved.routes = undefined
    unresolved.headerKey = headerKey
    return unresolved
  }

  #isExempt(message: Message): boolean {
    const senderState = this.resolveWithoutLookup(message)
    const nowMs = this.#gate.clock.now()
    return isExempt(operationPlanForSender(senderState, nowMs).steps, message, senderState.identity, nowMs)
  }
}

/** Returns the states of a chain that a later chain may adopt. */
function reloadStates({ statefulEntries }: RuleRegistry): readonly StateKeptAcrossReload<unknown>[] {
  return statefulEntries.flatMap(({ middleware }) => {
    const meta = getMiddlewareMeta(middleware)
    return meta?.kind === 'handler' || meta?.kind === 'scale' ? [meta.state] : []
  })
}

/** Returns selectors of the counts that overrides hold for a rule, or for one of its keys. */
function overrideSelectors(
  { overrides }: SenderRuntimeSettings,
  rule: Rule,
  key: string | undefined,
): readonly StateSelector[] {
  const selectors = new Map<string, StateSelector>()
  for (const override of overrides.values()) {
    const { effect } = override
    if (effect.kind === 'unlimited' || !overrideAppliesToRule(override, rule)) continue
    const name = nameOverriddenLimit(rule.limit, effect)
    if (key === undefined) selectors.set(name, { rule: name })
    else selectors.set(override.id, { rule: name, key: overrideCounterPrefix(override) + key })
  }
  return [...selectors.values()]
}
