import { EventEmitter } from 'node:events'
import type { Identity } from './chain/identity.ts'
import { type Explanation, inspect, peekSteps } from './chain/inspect.ts'
import type { Middleware } from './chain/middleware.ts'
import { Roster } from './chain/roster.ts'
import { Routes } from './chain/routes.ts'
import { keyUnder } from './chain/rule-facts.ts'
import { likelySeat, Seat, seatOf } from './chain/seat.ts'
import { type Clock, systemClock } from './clock.ts'
import type { Decision, Outcome } from './decision.ts'
import { checkDialect, checkLimit, checkLimits, checkSameStore } from './gate/checks.ts'
import type { GateEvents } from './gate/events.ts'
import { type PolicySource, type Reading, readPolicy, watchFiles } from './gate/reading.ts'
import { Scales } from './gate/scales.ts'
import { type Logger, SILENT } from './logger.ts'
import type { Action, Dialect, MaybePromise, Message } from './message.ts'
import type { RuleFacts } from './outcomes/rule-facts.ts'
import type { CompiledPolicy } from './policy/compile.ts'
import { MemoryStore } from './stores/memory.ts'
import { openStore, type StoreSpec } from './stores/open-store.ts'
import type { Selector, Store } from './stores/store.ts'

export type { PolicyChange } from './gate/events.ts'
export type { GateEvents, PolicySource }

export interface GateOptions extends Reading {
  /**
   * Where the state of the limits lives; it stays open when the gate is closed. Default: the store the policy names,
   * or a MemoryStore, which the gate closes itself.
   */
  readonly store?: Store
  readonly clock?: Clock
  readonly dialect?: Dialect
  readonly logger?: Logger
  /** Of `fromPolicy`: whether to follow the policy's files and put each sound change into effect. Default: false. */
  readonly watch?: boolean
}

/** Decides, for every message, whether it may pass. */
export class Gate {
  readonly clock: Clock
  readonly logger: Logger
  readonly store: Store
  readonly #reading: Reading
  readonly #emitter = new EventEmitter<GateEvents>()
  readonly #scales: Scales
  /** What was given by `use`, after the policy's own. */
  readonly #used: { readonly pattern: string | undefined; readonly middleware: Middleware }[] = []
  #identity: Identity | undefined
  #roster: Roster
  /** Made anew after every change of the chain, which makes all seats void; null is never a new seat's routes. */
  #routes: Routes | null = null
  /** Whether anyone listens to decisions; asking the emitter costs more than the answer is worth. */
  #heard = false
  #applying: Promise<void> = Promise.resolve()
  /** What the gate opened its store with; undefined where it was given one. */
  #opened: StoreSpec | undefined
  readonly #unwatch: (() => void) | undefined
  #endWatch: (() => Promise<void>) | undefined

  constructor(options: GateOptions = {}) {
    this.clock = options.clock ?? systemClock
    this.logger = options.logger ?? SILENT
    this.store = options.store ?? new MemoryStore({ clock: this.clock })
    this.#opened = options.store === undefined ? { url: 'memory' } : undefined
    this.#reading = options
    this.#roster = new Roster(options.dialect ?? 'mqtt')
    this.#scales = new Scales({
      ...{ clock: this.clock, logger: this.logger },
      ...(options.load === undefined ? {} : { load: options.load }),
      changed: scaled => {
        this.#routes = null
        this.#emit('scaled', scaled)
      },
    })
    this.#unwatch = this.store.watch?.(event => {
      if (event.kind === 'state') this.#emit('store', event)
      else this.#emit('warning', event)
    })
  }

  /**
   * A gate of a policy, with the store it names; with `watch: true` it follows the policy's files. Throws PolicyError
   * with every problem of the policy.
   */
  static async fromPolicy(policy: PolicySource, options: GateOptions = {}): Promise<Gate> {
    const compiled = await readPolicy(policy, options)
    const store = options.store ?? (await openStore(compiled.store, options))
    const gate = new Gate({ dialect: compiled.dialect, ...options, store })
    if (options.store === undefined) gate.#opened = compiled.store
    try {
      gate.#swap(compiled)
      if (options.watch) {
        // What was refused is told of by the gate itself.
        const reload = (): Promise<void> => gate.apply(policy)
        gate.#endWatch = await watchFiles(compiled, reload, gate.clock)
      }
    } catch (error) {
      await gate.close()
      throw error
    }
    return gate
  }

  get dialect(): Dialect {
    return this.#roster.dialect
  }

  /** Adds middleware, for every topic or for those a pattern matches. Order is that of the calls. Throws PolicyError. */
  use(...middleware: Middleware[]): this
  use(pattern: string, ...middleware: Middleware[]): this
  use(first: string | Middleware, ...rest: Middleware[]): this {
    const pattern = typeof first === 'string' ? first : undefined
    const added = typeof first === 'string' ? rest : [first, ...rest]
    for (const middleware of added) {
      checkLimit(middleware, this.store)
      this.#roster.add(pattern, middleware)
      this.#used.push({ pattern, middleware })
    }
    this.#routes = null
    return this
  }

  /**
   * Decides a message and charges its limits. Synchronous, without a promise, where the store is local and no
   * middleware of the user's own is asynchronous.
   */
  check(message: Message): MaybePromise<Decision> {
    const nowMs = this.clock.now()
    let seat = likelySeat(message.sender)
    // The likely case first: same sender, same topic as before, and nothing has changed.
    if (
      seat === undefined ||
      seat.routes !== this.#routes ||
      seat.owner !== message.sender ||
      seat.topic !== message.topic ||
      seat.on !== message.on
    ) {
      seat = this.#seatFor(message)
    }
    const decision = seat.ruling!.plan.decider.decide(message, seat, nowMs)
    if (this.#heard) this.#tell(decision, message)
    return decision
  }

  /** One decision for each rule the message would meet, or that of its exemption. Charges nothing. */
  peek(message: Message): MaybePromise<readonly Decision[]> {
    const seat = this.#seatFor(message)
    return peekSteps(seat.ruling!.plan.steps, this.store, message, seat, this.clock.now())
  }

  /** Every step for one message: route, exemptions, each limit's numbers. Charges nothing. */
  async explain(message: Message): Promise<Explanation> {
    const seat = this.#seatFor(message)
    const trace = await inspect(seat.ruling!.plan.steps, this.store, message, seat, this.clock.now())
    return { ...trace, patterns: this.#routesNow().patternsOf(message) }
  }

  /**
   * Puts a policy in the place of the one before; what limits of the same name have counted is kept. A policy that
   * cannot be used is refused with a PolicyError and leaves the old one running.
   */
  apply(policy: PolicySource): Promise<void> {
    const applied = this.#applying.then(async () => {
      try {
        this.#swap(await readPolicy(policy, this.#reading))
      } catch (error) {
        this.#emit('policy', { kind: 'refused', error: error as Error })
        throw error
      }
    })
    this.#applying = applied.catch(() => {})
    return applied
  }

  /** Names of all rules, in their order. */
  rules(): readonly string[] {
    return this.#roster.limits.map(({ name }) => name)
  }

  /** Every outcome a rule may come to, and the rules that ask for it. */
  outcomes(on?: Action): ReadonlyMap<Outcome, readonly string[]> {
    return this.#roster.outcomes(on)
  }

  /** What a rule is: its numbers, and what it wants done when it is exceeded. */
  ruleOf(name: string): RuleFacts | undefined {
    return this.#roster.ruleOf(name)
  }

  /** The key a rule would count a message under; undefined where it does not meet it, or an exemption holds. */
  keyOf(rule: string, message: Message): string | undefined {
    const seat = this.#seatFor(message)
    return keyUnder(seat.ruling!.plan.steps, rule, message, seat.identity, this.clock.now())
  }

  /** Forgets what was counted: one key, one rule, or all; returns how many keys. */
  async reset(selector: Selector = {}): Promise<number> {
    return this.store.forget(selector)
  }

  on<Name extends keyof GateEvents>(event: Name, listener: (...args: GateEvents[Name]) => void): this {
    ;(this.#emitter as EventEmitter).on(event, listener)
    this.#heard = this.#emitter.listenerCount('decision') > 0
    return this
  }

  off<Name extends keyof GateEvents>(event: Name, listener: (...args: GateEvents[Name]) => void): this {
    ;(this.#emitter as EventEmitter).off(event, listener)
    this.#heard = this.#emitter.listenerCount('decision') > 0
    return this
  }

  /** Follows no files any more, and closes the store the gate has opened. */
  async close(): Promise<void> {
    await this.#endWatch?.()
    this.#unwatch?.()
    this.#scales.close()
    if (this.#opened !== undefined) await this.store.close()
  }

  /** A listener that throws harms no message. */
  #emit<Name extends keyof GateEvents>(event: Name, ...args: GateEvents[Name]): void {
    try {
      ;(this.#emitter as EventEmitter).emit(event, ...args)
    } catch (err) {
      this.logger.error({ err, event }, 'a listener threw')
    }
  }

  #tell(decision: MaybePromise<Decision>, message: Message): void {
    if (decision instanceof Promise) {
      decision.then(
        settled => this.#emit('decision', settled, message),
        () => {},
      )
    } else this.#emit('decision', decision, message)
  }

  /** The seat of a message's sender, turned to its topic. */
  #seatFor(message: Message): Seat {
    const routes = this.#routesNow()
    if (!routes.areKept) return routes.settle(new Seat(message.sender, message.sender), message)
    const seat = seatOf(message.sender, this)
    if (seat.routes === routes && seat.topic === message.topic && seat.on === message.on) return seat
    if (seat.routes === routes && seat.returnTo(message.topic, message.on)) return seat
    return routes.settle(seat, message)
  }

  #routesNow(): Routes {
    if (this.#routes === null) {
      this.#scales.follow(this.#roster.entries)
      this.#routes = new Routes(this, this.#roster, this.#identity, this.store)
    }
    return this.#routes
  }

  #swap(policy: CompiledPolicy): void {
    if (this.#used.length > 0) checkDialect(policy, this.dialect)
    if (this.#opened !== undefined) checkSameStore(policy, this.#opened)
    checkLimits(policy, this.store)
    const roster = new Roster(policy.dialect)
    for (const { pattern, middleware } of [...policy.entries, ...this.#used]) roster.add(pattern, middleware)
    const gone = [...this.#roster.names].filter(name => !roster.names.has(name))
    this.#identity = policy.identity
    this.#roster = roster
    this.#routes = null
    // In a shared store other nodes may go by the rule for a while; what nobody asks for goes there by itself.
    if (this.store instanceof MemoryStore) for (const rule of gone) this.store.forget({ rule })
    this.#emit('policy', { kind: 'applied', rules: this.rules() })
  }
}
