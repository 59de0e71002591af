import type { Middleware } from '../chain/middleware.ts'
import { activeLimits, RouteTable } from '../chain/routing/route-table.ts'
import type { RuleRegistry } from '../chain/routing/rule-registry.ts'
import { planFor } from '../chain/routing/sender-plan.ts'
import { isExempt } from '../chain/rules/rule-info.ts'
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

/** Calls of the store that a reset has under way at once. */
const FORGOTTEN_AT_ONCE = 64

/** Whose chain it is. */
interface Owner {
  readonly clock: Clock
  readonly logger: Logger
}

/** Takes a refusal that was made outside of a check. */
type ReportRefusal = (decision: Decision, message: Message, senderState: SenderState) => void

/** Which chain is in force at a gate, and what each sender amounts to under it. */
export class ActiveChain {
  /** Made anew after every change of the chain, which makes all seats void; null is never a new seat's routes. */
  routes: RouteTable | null = null
  registry: RuleRegistry
  policy: CompiledPolicy | undefined
  /** What was given by `use`, after the policy's own. */
  readonly used: { readonly pattern: string | undefined; readonly middleware: Middleware }[] = []
  readonly #gate: object
  readonly #clock: Clock
  /** Whether any message was decided. */
  #isRouted = false
  readonly #store: Store
  readonly #runtimeConfig: RuntimeConfig
  #pendingLookup: Promise<void> | undefined
  readonly #limitScaler: LimitScaler
  /** What handlers behind the gate do with their messages. */
  readonly handlerMonitor: HandlerMonitor
  /** Counts of what brokers hold. */
  readonly held: HeldCounts

  constructor(
    gate: Owner,
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
      (...opened) => runtimeConfig.tellOpened(...opened),
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
   * Puts a chain in force: a policy's, with what was added in code and at run time. Returns the names of rules that are no
   * more. Throws PolicyError, and leaves all as it was.
   */
  build(policy: CompiledPolicy | undefined, dialect: Dialect): readonly string[] {
    const before = this.registry.names
    this.registry = this.#runtimeConfig.assemble(policy, dialect, this.used)
    this.policy = policy
    this.routes = null
    this.handlerMonitor.follow(this.registry.entries)
    this.held.follow(this.registry.entries)
    this.#adopt()
    return [...before].filter(name => !this.registry.names.has(name))
  }

  /** Forgets what was counted, also what overrides count apart; returns how many keys. */
  async reset(selector: Selector): Promise<number> {
    let count = await this.#store.forget(selector)
    const rule = selector.rule === undefined ? undefined : this.registry.countedAs(selector.rule)
    const ephemeral = rule === undefined ? [] : this.#runtimeConfig.overrideSelectors(rule, selector.key)
    for (let first = 0; first < ephemeral.length; first += FORGOTTEN_AT_ONCE) {
      const some = ephemeral.slice(first, first + FORGOTTEN_AT_ONCE)
      for (const forgotten of await Promise.all(some.map(each => this.#store.forget(each))))
        count += forgotten
    }
    return count
  }

  /** The refusal of a banned sender, by what its connect tells of it. */
  banOf(sender: Sender): Decision | undefined {
    if (this.#runtimeConfig.senderOverrides.bans.isEmpty) return undefined
    const message: Message = { topic: 'connect', on: 'connect', sender, size: 0 }
    const senderState = this.routesNow().settle(new SenderState(sender, sender), message)
    // Nobody waits for a tier here.
    this.#runtimeConfig.takePendingLookup()
    const { evaluator } = senderState.senderPlan!
    return evaluator.kind === 'banned' ? evaluator.decide(message, senderState, this.#clock.now()) : undefined
  }

  /** Takes a connect to account whose sender is authenticated now; the refusal of one too many. */
  confirmConnect(message: Message): Decision | undefined {
    const senderState = this.resolveSender(message)
    const nowMs = this.#clock.now()
    const { evaluator } = planFor(senderState, nowMs)
    if (evaluator.kind === 'banned') return evaluator.decide(message, senderState, nowMs)
    return evaluator.kind === 'connect' ? evaluator.confirm(message, senderState, nowMs) : undefined
  }

  /** Takes a refusal to account. Never throws. */
  punish(decision: Decision, message: Message): void {
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

  /** Goes on by other factors: every plan is made anew, and counts by the new limits from now on. */
  rescale(): void {
    this.routes = null
    this.#adopt()
  }

  /** Tells the store of the limits that are in force from now on. */
  #adopt(): void {
    if (this.#store.adopt === undefined) return
    // A measurement that goes on under a new policy has its factor at once.
    if (this.#isRouted) this.#limitScaler.follow(this.registry.entries)
    this.#store.adopt(activeLimits(this.registry, this.#runtimeConfig.senderOverrides), this.#clock.now())
  }

  /** Has every seat settled anew when it is next asked for; nothing is compiled anew. */
  renew(): void {
    this.routes = this.routes?.renewed() ?? null
  }

  /** The seat of a message's sender, turned to its topic. */
  resolveSender(message: Message): SenderState {
    this.#pendingLookup = undefined
    const routes = this.routesNow()
    if (!routes.areKept) return this.#settle(routes, new SenderState(message.sender, message.sender), message)
    if (typeof message.sender !== 'object') checkMessage(message)
    const senderState = getSenderState(message.sender, this.#gate)
    if (senderState.routes === routes && senderState.topic === message.topic && senderState.on === message.on)
      return senderState
    if (senderState.routes === routes && senderState.restoreTopic(message.topic, message.on))
      return senderState
    return this.#settle(routes, senderState, message)
  }

  /**
   * What the sender that was seated last has to wait for, while its tier is being looked up: whoever decides asks for its
   * seat again then.
   */
  get pendingLookup(): Promise<void> | undefined {
    return this.#pendingLookup
  }

  #isExempt(message: Message): boolean {
    const senderState = this.resolveSender(message)
    const nowMs = this.#clock.now()
    return isExempt(planFor(senderState, nowMs).steps, message, senderState.identity, nowMs)
  }

  #settle(routes: RouteTable, senderState: SenderState, message: Message): SenderState {
    checkMessage(message)
    routes.settle(senderState, message)
    this.#pendingLookup = this.#runtimeConfig.takePendingLookup()
    if (this.#pendingLookup !== undefined) senderState.routes = undefined
    return senderState
  }

  routesNow(): RouteTable {
    if (this.routes === null) this.#limitScaler.follow(this.registry.entries)
    this.#isRouted = true
    this.routes ??= new RouteTable({
      ...{ gate: this.#gate, registry: this.registry, identity: this.policy?.identity, store: this.#store },
      ...{
        senderOverrides: this.#runtimeConfig.senderOverrides,
        usageWarnings: this.#runtimeConfig.usageWarnings,
      },
    })
    return this.routes
  }
}
