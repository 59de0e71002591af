import { type Explanation, explainPlan, peekSteps } from '../chain/evaluation/explain.ts'
import type { Middleware } from '../chain/middleware-types.ts'
import { operationPlanForSender } from '../chain/routing/operation-plan-for-sender.ts'
import { LoadSources } from '../chain/rules/load-source-registry.ts'
import { keyUnderRule } from '../chain/rules/rule-info.ts'
import { createSender, findSenderState, type SenderState } from '../chain/senders/sender-state.ts'
import { type Clock, type SteadyClock, systemClock, toMonotonicClock } from '../core/clock.ts'
import type { Decision, Outcome } from '../core/decision.ts'
import { checkWord, policyError, UnsupportedError } from '../core/errors.ts'
import { type Logger, SILENT } from '../core/logger.ts'
import { andThen } from '../core/maybe-promise.ts'
import {
  completeMessage,
  type Dialect,
  type GivenMessage,
  type MaybePromise,
  type Message,
  type Operation,
  type Sender,
} from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import type { RuleInfo } from '../outcomes/rule-info.ts'
import type { LoadedPolicy } from '../policy/compiled-policy-types.ts'
import { MemoryStore } from '../stores/memory/memory-store.ts'
import type { StoreSpec } from '../stores/normalize-store-options.ts'
import { openStore } from '../stores/open-store.ts'
import type { StateSelector, Store } from '../stores/store.ts'
import {
  checkLimitSupport,
  checkMiddleware,
  checkPolicySupport,
  checkSameStore,
} from './check-store-support.ts'
import { type ChainOptions, GateChain } from './gate-chain.ts'
import { type DecisionCounter, GateEmitter } from './gate-emitter.ts'
import type { GateEvents, PolicyReloadResult } from './gate-events.ts'
import type { GateStats, PolicyStats } from './gate-stats.ts'
import { type NodeMembership, removeNode } from './node-membership.ts'
import { loadPolicySource, type PolicySource, type ReadPolicyOptions, watchFiles } from './policy-source.ts'
import { type GateRunOptions, type HandlerRunResult, runMessageHandler } from './run-message-handler.ts'
import { RuntimeConfig, type SenderEntries } from './runtime-config.ts'

export type { GateEvents, PolicyReloadResult, PolicySource, SenderEntries }

/** Options of a gate. */
export interface GateOptions extends ReadPolicyOptions, ChainOptions {
  /**
   * Store of the counters; it stays open when the gate is closed. Default: the store that the policy names,
   * or a MemoryStore, which the gate closes itself.
   */
  readonly store?: Store | undefined
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
  /** For `fromPolicy`: watch the policy's files and apply each valid change. Default: false. */
  readonly watch?: boolean | undefined
}

export const GATE_OPTIONS: KnownOptions<GateOptions> = {
  env: true,
  algorithms: true,
  load: true,
  tiers: true,
  tierOf: true,
  penalties: true,
  behaviour: true,
  store: true,
  clock: true,
  dialect: true,
  logger: true,
  watch: true,
}

/** Decides whether a message may pass. */
export class Gate {
  /** Monotone clock. If the system clock steps back, it stays at the greatest time seen. */
  readonly clock: SteadyClock
  readonly #gateChain: GateChain
  readonly #runtimeConfig: RuntimeConfig
  /** Set if there are listeners or counters of decisions, or penalties. */
  #hasDecisionListeners = false
  #needsRefusals = false
  readonly logger: Logger
  readonly store: Store
  /** Bans by client, user, device, API key, address or network. */
  readonly bans: RuntimeConfig['bans']
  /** Temporary overrides that lift, multiply or replace limits. */
  readonly overrides: RuntimeConfig['overrides']
  /** Exemptions added at run time. They precede those of the policy. */
  readonly exemptions: RuntimeConfig['exemptions']
  /** Tiers assigned to senders at run time. */
  readonly tiers: RuntimeConfig['tiers']
  /** Results of the handlers behind the gate, as reported by consumers. */
  readonly handlerMonitor: GateChain['handlerMonitor']
  /** Counts of connections, subscriptions and retained messages. Each broker registers itself. */
  readonly held: GateChain['held']
  /** Load of brokers and consumers, for adaptive limits. Each registers itself. */
  readonly loadSources = new LoadSources()
  readonly #readOptions: ReadPolicyOptions
  readonly #emitter: GateEmitter
  /** Sender of messages that have none. */
  #anonymous: Sender | undefined
  #applying: Promise<void> = Promise.resolve()
  #policy: LoadedPolicy | undefined
  #policyStats: PolicyStats = { applied: undefined, refused: 0, isLastApplied: true }
  /** Specification of the store that this gate opened itself; undefined if a store was given. */
  #openedSpec: StoreSpec | undefined
  readonly #unwatchStore: (() => void) | undefined
  #stopWatching: (() => Promise<void>) | undefined

  constructor(options: GateOptions = {}) {
    checkGateOptions(options)
    this.clock = toMonotonicClock(options.clock ?? systemClock)
    this.logger = options.logger ?? SILENT
    this.store = options.store ?? new MemoryStore({ clock: this.clock })
    this.#openedSpec = options.store === undefined ? { url: 'memory' } : undefined
    this.#readOptions = options
    this.#emitter = new GateEmitter(this.logger, () => this.#updateFlags())
    this.#gateChain = new GateChain(this, this.#emitter, options)
    this.handlerMonitor = this.#gateChain.handlerMonitor
    this.held = this.#gateChain.held
    this.#runtimeConfig = new RuntimeConfig(this, this.#gateChain, this.#emitter, options.tierOf)
    this.bans = this.#runtimeConfig.bans
    this.overrides = this.#runtimeConfig.overrides
    this.exemptions = this.#runtimeConfig.exemptions
    this.tiers = this.#runtimeConfig.tiers
    this.#updateFlags()
    void this.#runtimeConfig.syncEntries()
    this.#unwatchStore = this.store.watch?.(event => {
      if (event.kind === 'state') this.#emitter.emit('store', event)
      else this.#emitter.emit('warning', event)
    })
  }

  /**
   * Creates a gate from a policy and opens the store it names. With `watch: true` it reloads the policy when
   * its files change. Throws PolicyError with every problem of the policy.
   */
  static async fromPolicy(policy: PolicySource, options: GateOptions = {}): Promise<Gate> {
    checkGateOptions(options)
    const loaded = await loadPolicySource(policy, options)
    const { compiled } = loaded
    const { clock, logger } = options
    const store = options.store ?? (await openStore(compiled.store, { clock, logger }))
    const gate = new Gate({ ...options, dialect: options.dialect ?? compiled.dialect, store })
    if (options.store === undefined) gate.#openedSpec = compiled.store
    try {
      await gate.#applyPolicy(loaded)
      await gate.#runtimeConfig.syncEntries()
      if (options.watch) {
        // The gate itself reports a refused policy.
        const reload = (): Promise<void> => gate.apply(policy)
        gate.#stopWatching = await watchFiles(loaded, reload, gate.clock)
      }
    } catch (error) {
      await gate.close()
      throw error
    }
    return gate
  }

  get dialect(): Dialect {
    return this.#gateChain.registry.dialect
  }

  /**
   * Adds middleware for every topic, or for topics that match a pattern. Middleware runs in the order of the
   * calls. Throws PolicyError.
   */
  use(...middleware: Middleware[]): this
  use(pattern: string, ...middleware: Middleware[]): this
  use(first: string | Middleware, ...rest: Middleware[]): this {
    const pattern = typeof first === 'string' ? first : undefined
    const added = typeof first === 'string' ? rest : [first, ...rest]
    if (added.length === 0) checkMiddleware(undefined)
    for (const middleware of added) checkMiddleware(middleware)
    for (const middleware of added) {
      checkLimitSupport(middleware, this.store)
      this.#gateChain.add(pattern, middleware)
    }
    this.#updateFlags()
    this.#emitter.emit('changed')
    return this
  }

  /**
   * Decides a message and charges its limits. Returns the decision itself, not a promise, if the store is
   * local and all middleware is synchronous.
   */
  check(given: GivenMessage): MaybePromise<Decision> {
    const message = given as Message
    const nowMs = this.clock.now()
    let senderState = findSenderState(message.sender)
    // The likely case first: same sender, same topic as before, and no change of rules.
    if (
      senderState === undefined ||
      senderState.routes !== this.#gateChain.routes ||
      senderState.owner !== message.sender ||
      senderState.topic !== message.topic ||
      senderState.on !== message.on
    ) {
      if (message.on === undefined || message.sender === undefined)
        return this.check(this.#completeMessage(given))
      const resolved = this.#gateChain.resolveSender(message)
      if (resolved instanceof Promise) return resolved.then(() => this.check(message))
      senderState = resolved
    }
    let decision = senderState.senderPlan!.evaluator.decide(message, senderState, nowMs)
    if (this.clock.lagMs > 0) decision = addLagTo(decision, this.clock.lagMs)
    if (this.#hasDecisionListeners) this.#emitDecision(decision, message, senderState)
    return decision
  }

  /**
   * Decides like `check`, but only without a promise: with a local store and synchronous middleware.
   * Otherwise throws UnsupportedError; units charged until then stay charged.
   */
  checkSync(message: GivenMessage): Decision {
    const decision = this.check(message)
    if (!(decision instanceof Promise)) return decision
    decision.catch(() => {})
    throw new UnsupportedError(
      `the ${this.store.name} store or a middleware answers later (await gate.check, or use a memory store)`,
    )
  }

  /** Returns one decision for each rule that applies to the message, or that of its exemption. Charges nothing. */
  peek(given: GivenMessage): MaybePromise<readonly Decision[]> {
    const message = this.#completeMessage(given)
    const senderState = this.#gateChain.resolveSender(message)
    if (senderState instanceof Promise) return senderState.then(() => this.peek(message))
    const nowMs = this.clock.now()
    const { lagMs } = this.clock
    const { steps, evaluator } = operationPlanForSender(senderState, nowMs)
    const decisions =
      evaluator.kind === 'banned'
        ? [evaluator.decide(message, senderState, nowMs)]
        : peekSteps(steps, this.store, this.#gateChain.lastPayloads, message, senderState, nowMs)
    if (lagMs === 0) return decisions
    return andThen(decisions, each => each.map(decision => addLag(decision, lagMs)))
  }

  /** Returns every step for one message: route, exemptions and the numbers of each limit. Charges nothing. */
  async explain(given: GivenMessage): Promise<Explanation> {
    const message = this.#completeMessage(given)
    const senderState = this.#gateChain.resolveSender(message)
    if (senderState instanceof Promise) return senderState.then(() => this.explain(message))
    const trace = await explainPlan(
      operationPlanForSender(senderState, this.clock.now()),
      this.store,
      this.#gateChain.lastPayloads,
      message,
      senderState,
      this.clock.now(),
    )
    return {
      ...trace,
      held: this.held.describe(message),
      patterns: this.#gateChain.currentRoutes().patternsOf(message),
    }
  }

  /**
   * Replaces the policy. Limits that keep their name keep their counts. Rejects with PolicyError if the
   * policy is invalid; the old one then stays in force.
   */
  apply(policy: PolicySource): Promise<void> {
    const applied = this.#applying
      .then(async () => this.#applyPolicy(await loadPolicySource(policy, this.#readOptions)))
      .catch((error: Error) => {
        const { applied, refused } = this.#policyStats
        this.#policyStats = { applied, refused: refused + 1, isLastApplied: false }
        this.#emitter.emit('policy', { kind: 'refused', error })
        throw error
      })
    this.#applying = applied.catch(() => {})
    return applied
  }

  /** The policy in force; undefined if all limits were added in code. May contain secrets. */
  get policy(): LoadedPolicy | undefined {
    return this.#policy
  }

  /** Returns the bans, overrides and assigned tiers that cover a sender. */
  entriesOf(sender: Sender): SenderEntries {
    return this.#runtimeConfig.entriesOf(sender)
  }

  /**
   * Joins the nodes of a shared store, under a name, that confirm changes of bans, overrides, exemptions and tiers to each
   * other. A node replaces an earlier one with the same `id` (default: random). Returns undefined if the store belongs to one
   * process. Close it before the gate.
   */
  joinNodes(node: string, id?: string): NodeMembership | undefined {
    return this.#runtimeConfig.joinNodes(node, id)
  }

  /** Removes a node that has ended without leaving. Rejects if the store does not answer; then its last report expires. */
  removeNode(id: string): Promise<void> {
    return removeNode(this.store, id)
  }

  /** Returns the state of the policy, runtime entries, adaptive limits, feedback and breakers, for metrics. */
  stats(): GateStats {
    return {
      policy: this.#policyStats,
      runtimeEntries: this.#runtimeConfig.countEntries(),
      ...this.#gateChain.stats(),
    }
  }

  /** Returns the names of all rules, in their order. */
  rules(): readonly string[] {
    return this.#gateChain.registry.ruleNames
  }

  /** Returns every possible outcome, with the rules that may lead to it. */
  outcomes(on?: Operation): ReadonlyMap<Outcome, readonly string[]> {
    return this.#gateChain.registry.outcomes(on)
  }

  /** Returns true if a decision about an action may depend on a payload itself, and not only on its size. */
  usesPayload(on: Operation): boolean {
    return this.#gateChain.registry.usesPayload(on)
  }

  /** Returns the numbers of a rule and its outcome when exceeded. */
  ruleOf(name: string | undefined): RuleInfo | undefined {
    return name === undefined ? undefined : this.#gateChain.registry.ruleOf(name)
  }

  /**
   * Returns the sender of a message with the parts that the `senders` of a policy add. While its tier is being
   * looked up, the tier is the one known so far.
   */
  senderOf(message: GivenMessage): Sender {
    return this.#gateChain.identityOf(this.#completeMessage(message))
  }

  /**
   * Returns the key under which a rule counts a message. Returns undefined if the rule does not apply or an
   * exemption does.
   */
  keyOf(rule: string, given: GivenMessage): string | undefined {
    const message = this.#completeMessage(given)
    const senderState = this.#gateChain.resolveWithoutLookup(message)
    return keyUnderRule(
      senderState.senderPlan!.plan.steps,
      rule,
      message,
      senderState.identity,
      this.clock.now(),
    )
  }

  /**
   * Counts a connect for its client, user, device and API key once its sender is authenticated. Use it for a
   * message that was `claimed` when it was checked. Returns the refusal if it is one connect too many.
   */
  confirmConnect(message: Message): Decision | undefined {
    return this.#gateChain.confirmConnect(message)
  }

  /** Returns the refusal of every message of a banned sender; undefined if the sender is not banned. Counts nothing. */
  banOf(sender: Sender): Decision | undefined {
    return this.#gateChain.banOf(sender)
  }

  /**
   * Checks a message, waits as its outcome requires, runs its handler within the limits of concurrent
   * handlers (`inFlight`), and reports the result. Rejects with the error of the handler.
   */
  run<T>(
    message: GivenMessage,
    handler: (decision: Decision) => MaybePromise<T>,
    options: GateRunOptions = {},
  ): Promise<HandlerRunResult<T>> {
    return runMessageHandler(this, this.#completeMessage(message), handler, options)
  }

  /**
   * Makes `unchanged` rules forget the last payload of a message's topic, so that an equal one passes. Call it if a
   * message that passed was not delivered.
   */
  forgetPayload(message: GivenMessage): void {
    this.#gateChain.forgetPayload(this.#completeMessage(message))
  }

  /** Forgets the counts of one key, one rule, or all. Returns the number of keys. */
  async reset(selector: StateSelector = {}): Promise<number> {
    const count = await this.#gateChain.reset(selector)
    this.#emitter.emit('changed')
    return count
  }

  on<Name extends keyof GateEvents>(event: Name, listener: (...args: GateEvents[Name]) => void): this {
    this.#emitter.on(event, listener)
    return this
  }

  /** Adds a listener for one event. `off` with the same listener removes it. */
  once<Name extends keyof GateEvents>(event: Name, listener: (...args: GateEvents[Name]) => void): this {
    this.#emitter.once(event, listener)
    return this
  }

  off<Name extends keyof GateEvents>(event: Name, listener: (...args: GateEvents[Name]) => void): this {
    this.#emitter.off(event, listener)
    return this
  }

  /** Counts every decision until the returned function is called. Like a listener, with access to sender states. */
  countBy(counter: DecisionCounter): () => void {
    return this.#emitter.countBy(counter)
  }

  /** Stops watching files and closes the store if the gate opened it. */
  async close(): Promise<void> {
    await this.#stopWatching?.()
    this.#unwatchStore?.()
    this.#gateChain.close()
    await this.#runtimeConfig.close()
    if (this.#openedSpec !== undefined) await this.store.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #completeMessage(given: GivenMessage): Message {
    this.#anonymous ??= createSender({})
    return completeMessage(given, this.#anonymous)
  }

  #emitDecision(decision: MaybePromise<Decision>, message: Message, senderState: SenderState): void {
    if (decision instanceof Promise)
      return void decision.then(each => this.#emitDecision(each, message, senderState)).catch(() => {})
    this.#emitter.emitDecision(decision, message, senderState)
    if (this.#needsRefusals && !decision.allowed) this.#runtimeConfig.recordRefusal(decision, message)
  }

  #updateFlags(): void {
    this.#needsRefusals = this.#gateChain.hasPenalties
    this.#hasDecisionListeners = this.#emitter.hasDecisionListeners || this.#needsRefusals
  }

  async #applyPolicy(policy: LoadedPolicy): Promise<void> {
    if (this.#openedSpec !== undefined) checkSameStore(policy, this.#openedSpec)
    checkPolicySupport(policy, this.store)
    const gone = await this.#gateChain.apply(policy.compiled)
    this.#policy = policy
    this.#updateFlags()
    this.#policyStats = {
      applied: { fingerprint: policy.fingerprint, atMs: this.clock.now() },
      refused: this.#policyStats.refused,
      isLastApplied: true,
    }
    // In a shared store, other nodes may still use the rule; unused keys expire there.
    if (this.store instanceof MemoryStore) for (const rule of gone) this.store.forget({ rule })
    this.#emitter.emit('policy', { kind: 'applied', rules: this.rules() })
    this.#emitter.emit('changed')
  }
}

/** Returns a decision whose wait counts from the system clock, which is behind the gate's clock. */
function addLagTo(decision: MaybePromise<Decision>, lagMs: number): MaybePromise<Decision> {
  return andThen(decision, each => addLag(each, lagMs))
}

function addLag(decision: Decision, lagMs: number): Decision {
  return decision.allowed ? decision : { ...decision, retryAfterMs: decision.retryAfterMs + lagMs }
}

/** Checks the options of a gate. Throws PolicyError for unknown options and for a store without `decide`. */
function checkGateOptions(options: GateOptions): void {
  checkOptionNames(options, GATE_OPTIONS)
  checkWord(options.dialect ?? 'mqtt', ['mqtt', 'nats'], 'dialect', 'dialect')
  const { store } = options
  if (store === undefined || typeof (store as Partial<Store> | null)?.decide === 'function') return
  throw policyError(
    'store',
    'this is not a store',
    "open one: store: await openStore('redis://127.0.0.1:6379')",
  )
}
