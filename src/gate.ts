import { EventEmitter } from 'node:events'
import type { CustomAlgorithm } from './algorithms/custom.ts'
import type { Identity } from './chain/identity.ts'
import { type Explanation, inspect, peekSteps } from './chain/inspect.ts'
import type { Middleware } from './chain/middleware.ts'
import { Roster } from './chain/roster.ts'
import { Routes } from './chain/routes.ts'
import { keyUnder } from './chain/rule-facts.ts'
import { likelySeat, Seat, seatOf } from './chain/seat.ts'
import { type Clock, systemClock } from './clock.ts'
import type { Decision, Outcome } from './decision.ts'
import { policyError } from './errors.ts'
import { type Logger, SILENT } from './logger.ts'
import type { Action, Dialect, MaybePromise, Message } from './message.ts'
import type { RuleFacts } from './outcomes/rule-facts.ts'
import type { CompiledPolicy } from './policy/compile.ts'
import { MemoryStore } from './stores/memory.ts'
import type { Selector, Store, StoreWarning } from './stores/store.ts'

export interface GateOptions {
  /** Where the state of the limits lives. Default: a MemoryStore of its own. */
  readonly store?: Store
  readonly clock?: Clock
  readonly dialect?: Dialect
  readonly logger?: Logger
  /** Environment for `${NAME}` in policies. Default: process.env. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Algorithms of one's own that policies may name. */
  readonly algorithms?: readonly CustomAlgorithm[]
}

/** A policy in any form: paths, YAML or JSON text, an object, or a list of them where the later wins. */
export type PolicySource = string | object | readonly (string | object)[]

/** What a gate tells. Listeners are called at once, one after another; what they throw is logged. */
export interface GateEvents {
  decision: [decision: Decision, message: Message]
  warning: [warning: StoreWarning]
  store: [state: { readonly store: string; readonly ok: boolean; readonly detail?: string }]
  policy: [change: PolicyChange]
}

export type PolicyChange =
  | { readonly kind: 'applied'; readonly rules: readonly string[] }
  | { readonly kind: 'refused'; readonly error: Error }

/** Decides, for every message, whether it may pass. */
export class Gate {
  readonly clock: Clock
  readonly logger: Logger
  readonly store: Store
  readonly #reading: Reading
  readonly #emitter = new EventEmitter<GateEvents>()
  /** What was given by `use`, after the policy's own. */
  readonly #used: { readonly pattern: string | undefined; readonly middleware: Middleware }[] = []
  #identity: Identity | undefined
  #roster: Roster
  /** Made anew after every change of the chain, which makes all seats void; null is never a new seat's routes. */
  #routes: Routes | null = null
  /** Whether anyone listens to decisions; asking the emitter costs more than the answer is worth. */
  #heard = false
  #applying: Promise<void> = Promise.resolve()
  #unwatch: (() => void) | undefined

  constructor(options: GateOptions = {}) {
    this.clock = options.clock ?? systemClock
    this.logger = options.logger ?? SILENT
    this.store = options.store ?? new MemoryStore({ clock: this.clock })
    this.#reading = options
    this.#roster = new Roster(options.dialect ?? 'mqtt')
    if (this.store instanceof MemoryStore) {
      this.#unwatch = this.store.watch(warning => this.#emit('warning', warning))
    }
  }

  /** A gate that follows a policy. Throws PolicyError with every problem of the policy. */
  static async fromPolicy(policy: PolicySource, options: GateOptions = {}): Promise<Gate> {
    const compiled = await compile(policy, options)
    const gate = new Gate({ dialect: compiled.dialect, ...options })
    gate.#swap(compiled)
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
        this.#swap(await compile(policy, this.#reading))
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

  async close(): Promise<void> {
    this.#unwatch?.()
    await this.store.close()
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
    this.#routes ??= new Routes(this, this.#roster, this.#identity, this.store)
    return this.#routes
  }

  #swap(policy: CompiledPolicy): void {
    if (policy.dialect !== this.dialect && this.#used.length > 0) {
      throw policyError(
        'dialect',
        `the gate's own middleware reads ${this.dialect}`,
        `write dialect: ${this.dialect}`,
      )
    }
    const roster = new Roster(policy.dialect)
    for (const { pattern, middleware } of [...policy.entries, ...this.#used]) roster.add(pattern, middleware)
    const gone = [...this.#roster.names].filter(name => !roster.names.has(name))
    this.#identity = policy.identity
    this.#roster = roster
    this.#routes = null
    for (const rule of gone) void this.store.forget({ rule })
    this.#emit('policy', { kind: 'applied', rules: this.rules() })
  }
}

/** What it takes to read a policy. */
type Reading = Pick<GateOptions, 'env' | 'algorithms'>

/** Reads and compiles a policy. Loaded when first asked for: a gate built in code needs neither YAML nor zod. */
async function compile(source: PolicySource, { env, algorithms }: Reading): Promise<CompiledPolicy> {
  const { compilePolicy, loadPolicy } = await import('./policy/index.ts')
  return compilePolicy(await loadPolicy(source, { ...(env && { env }), ...(algorithms && { algorithms }) }))
}
