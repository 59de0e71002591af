import type { Middleware } from '../chain/middleware.ts'
import { metaOf } from '../chain/routing/plan-steps.ts'
import { activeLimits, RouteTable } from '../chain/routing/route-table.ts'
import type { RuleRegistry } from '../chain/routing/rule-registry.ts'
import { planFor } from '../chain/routing/sender-plan.ts'
import { isExempt } from '../chain/rules/rule-info.ts'
import { LastPayloads } from '../chain/rules/unchanged.ts'
import { getSenderState, SenderState } from '../chain/senders/sender-state.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { Logger } from '../core/logger.ts'
import { checkMessage, type Dialect, type Message, type Sender } from '../core/message.ts'
import type { CompiledPolicy } from '../policy/compile.ts'
import type { Selector, Store } from '../stores/store.ts'
import { HandlerMonitor } from './handler-monitor.ts'
import { HeldCounts } from './held-counts.ts'
import type { LimitScaler } from './limit-scaling.ts'
import type { RuntimeConfig } from './runtime-config.ts'

/** Maximum number of store calls that one reset runs at the same time. */
const MAX_CONCURRENT_FORGETS = 64

interface ChainHost {
  readonly clock: Clock
  readonly logger: Logger
}

/** Records a refusal that was decided outside of a check. */
type ReportRefusal = (decision: Decision, message: Message, senderState: SenderState) => void

/** The chain in force at a gate, and the plan of each sender under it. */
export class ActiveChain {
  /** Rebuilt after every change of the chain, which invalidates all sender states. Never null in a new sender state. */
  routes: RouteTable | null = null
  registry: RuleRegistry
  policy: CompiledPolicy | undefined
  /** Middleware added with `use`; runs after the policy's own. */
  readonly used: { readonly pattern: string | undefined; readonly middleware: Middleware }[] = []
  readonly #gate: object
  readonly #clock: Clock
  /** True once any message was decided. */
  #isRouted = false
  readonly #store: Store
  readonly #runtimeConfig: RuntimeConfig
  #pendingLookup: Promise<void> | undefined
  readonly #limitScaler: LimitScaler
  readonly handlerMonitor: HandlerMonitor
  readonly held: HeldCounts
  /** Payloads that `unchanged` rules compare with. They survive every change of the chain. */
  readonly lastPayloads = new LastPayloads()

  constructor(
    gate: ChainHost,
    store: Store,
    runtimeConfig: RuntimeConfig,
    dialect: Dialect,
    limitScaler: LimitScaler,
    report: ReportRefusal,
  ) {
    this.#gate = gate
    this.#clock = gate.clock
    this.#store = store
    this.#runtimeConfig = runtimeConfig
    this.#limitScaler = limitScaler
    this.handlerMonitor = new HandlerMonitor(
      gate.clock,
      gate.logger,
      (...opened) => runtimeConfig.shareOpened(...opened),
      message => this.resolveSender(message).identity,
    )
    this.held = new HeldCounts({
      senderOf: message => this.resolveSender(message).identity,
      isExempt: message => this.#isExempt(message),
      report: (decision, message) => report(decision, message, this.resolveSender(message)),
    })
    this.registry = runtimeConfig.assemble(undefined, dialect, this.used)
  }

  /**
   * Puts a chain in force: the policy's, with the entries added in code and at run time. Returns the names of
   * removed rules. Throws PolicyError and changes nothing if the chain is invalid.
   */
  build(policy: CompiledPolicy | undefined, dialect: Dialect): readonly string[] {
    const before = this.registry.names
    this.registry = this.#runtimeConfig.assemble(policy, dialect, this.used)
    this.policy = policy
    this.routes = null
    this.handlerMonitor.follow(this.registry.entries)
    this.held.follow(this.registry.entries)
    this.#retainPayloads()
    this.#updateStoreLimits()
    return [...before].filter(name => !this.registry.names.has(name))
  }

  /** Forgets the payloads of `unchanged` rules that are gone or disabled, or have another topic or scope. */
  #retainPayloads(): void {
    if (this.lastPayloads.size === 0) return
    const rules = this.registry.entries.flatMap(({ pattern, middleware }) => {
      const meta = metaOf(middleware)
      return meta?.kind === 'unchanged' && meta.enabled ? [{ rule: meta.unchanged, pattern }] : []
    })
    this.lastPayloads.retain(rules)
  }

  /** Forgets the payload that `unchanged` rules have recorded last for a message's topic. */
  forgetPayload(message: Message): void {
    if (this.lastPayloads.size === 0) return
    const senderState = this.resolveSender(message)
    const rules = planFor(senderState, this.#clock.now()).steps.flatMap(step =>
      step.kind === 'unchanged' ? step.rules : [],
    )
    this.lastPayloads.forget(rules, message, senderState.identity)
  }

  /** Forgets counts, including the separate counts of overrides. Returns the number of keys. */
  async reset(selector: Selector): Promise<number> {
    let count = await this.#store.forget(selector)
    if (selector.key === undefined) count += this.lastPayloads.forgetRule(selector.rule)
    const rule = selector.rule === undefined ? undefined : this.registry.countedAs(selector.rule)
    const ephemeral = rule === undefined ? [] : this.#runtimeConfig.overrideSelectors(rule, selector.key)
    for (let first = 0; first < ephemeral.length; first += MAX_CONCURRENT_FORGETS) {
      const some = ephemeral.slice(first, first + MAX_CONCURRENT_FORGETS)
      for (const forgotten of await Promise.all(some.map(each => this.#store.forget(each))))
        count += forgotten
    }
    return count
  }

  /** Returns the refusal of a banned sender, as far as its connect identifies it. */
  banOf(sender: Sender): Decision | undefined {
    if (this.#runtimeConfig.senderOverrides.bans.isEmpty) return undefined
    const message: Message = { topic: 'connect', on: 'connect', sender, size: 0 }
    const senderState = this.currentRoutes().settle(new SenderState(sender, sender), message)
    // Nothing here waits for a tier lookup.
    this.#runtimeConfig.takePendingLookup()
    const { evaluator } = senderState.senderPlan!
    return evaluator.kind === 'banned' ? evaluator.decide(message, senderState, this.#clock.now()) : undefined
  }

  /** Counts a connect once its sender is authenticated. Returns the refusal if it is one too many. */
  confirmConnect(message: Message): Decision | undefined {
    const senderState = this.resolveSender(message)
    const nowMs = this.#clock.now()
    const { evaluator } = planFor(senderState, nowMs)
    if (evaluator.kind === 'banned') return evaluator.decide(message, senderState, nowMs)
    return evaluator.kind === 'connect' ? evaluator.confirm(message, senderState, nowMs) : undefined
  }

  /** Records a refusal for penalties. Never throws. */
  recordRefusal(decision: Decision, message: Message): void {
    this.#runtimeConfig.note(decision, this.registry, message, this.resolveSender(message).identity)
  }

  /** Adds to the chain in force. Throws PolicyError. */
  add(pattern: string | undefined, middleware: Middleware): void {
    this.registry.add(pattern, middleware)
    this.used.push({ pattern, middleware })
    this.routes = null
    this.handlerMonitor.follow(this.registry.entries)
    this.held.follow(this.registry.entries)
  }

  /** Rebuilds every plan so that the new limits count from now on. */
  rebuildPlans(): void {
    this.routes = null
    this.#updateStoreLimits()
  }

  /** Reports the limits now in force to the store. */
  #updateStoreLimits(): void {
    if (this.#store.adopt === undefined) return
    // Why: an adaptive limit that continues under a new policy needs its factor at once.
    if (this.#isRouted) this.#limitScaler.follow(this.registry.entries)
    this.#store.adopt(activeLimits(this.registry, this.#runtimeConfig.senderOverrides), this.#clock.now())
  }

  /** Makes every sender resolve its plan again before its next message. Compiles nothing. */
  invalidatePlans(): void {
    this.routes = this.routes?.renewed() ?? null
  }

  /** Returns the sender state of a message's sender, switched to the message's topic. */
  resolveSender(message: Message): SenderState {
    this.#pendingLookup = undefined
    const routes = this.currentRoutes()
    if (!routes.areKept)
      return this.#resolvePlan(routes, new SenderState(message.sender, message.sender), message)
    if (typeof message.sender !== 'object') checkMessage(message)
    const senderState = getSenderState(message.sender, this.#gate)
    if (senderState.routes === routes && senderState.topic === message.topic && senderState.on === message.on)
      return senderState
    if (senderState.routes === routes && senderState.restoreTopic(message.topic, message.on))
      return senderState
    return this.#resolvePlan(routes, senderState, message)
  }

  /** Pending tier lookup of the sender resolved last. The caller awaits it, then resolves the sender again. */
  get pendingLookup(): Promise<void> | undefined {
    return this.#pendingLookup
  }

  #isExempt(message: Message): boolean {
    const senderState = this.resolveSender(message)
    const nowMs = this.#clock.now()
    return isExempt(planFor(senderState, nowMs).steps, message, senderState.identity, nowMs)
  }

  #resolvePlan(routes: RouteTable, senderState: SenderState, message: Message): SenderState {
    checkMessage(message)
    routes.settle(senderState, message)
    this.#pendingLookup = this.#runtimeConfig.takePendingLookup()
    if (this.#pendingLookup !== undefined) senderState.routes = undefined
    return senderState
  }

  currentRoutes(): RouteTable {
    if (this.routes === null) this.#limitScaler.follow(this.registry.entries)
    this.#isRouted = true
    this.routes ??= new RouteTable({
      ...{ gate: this.#gate, registry: this.registry, identity: this.policy?.identity, store: this.#store },
      ...{
        senderOverrides: this.#runtimeConfig.senderOverrides,
        usageWarnings: this.#runtimeConfig.usageWarnings,
        lastPayloads: this.lastPayloads,
      },
    })
    return this.routes
  }
}
