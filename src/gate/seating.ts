import type { Middleware } from '../chain/middleware.ts'
import type { Roster } from '../chain/roster.ts'
import { limitsInForce, Routes } from '../chain/routes.ts'
import { isExempt } from '../chain/rule-facts.ts'
import { planFor } from '../chain/ruling.ts'
import { Seat, seatOf } from '../chain/seat.ts'
import type { Clock } from '../clock.ts'
import type { Decision } from '../decision.ts'
import type { Logger } from '../logger.ts'
import { checkMessage, type Dialect, type Message, type Sender } from '../message.ts'
import type { CompiledPolicy } from '../policy/compile.ts'
import type { Selector, Store } from '../stores/store.ts'
import type { Desk } from './desk.ts'
import { Handling } from './handling.ts'
import { HeldCounts } from './held-counts.ts'
import type { Scales } from './scales.ts'

/** Calls of the store that a reset has under way at once. */
const FORGOTTEN_AT_ONCE = 64

/** Whose chain it is. */
interface Owner {
  readonly clock: Clock
  readonly logger: Logger
}

/** Takes a refusal that was made outside of a check. */
type ReportRefusal = (decision: Decision, message: Message, seat: Seat) => void

/** Which chain is in force at a gate, and what each sender amounts to under it. */
export class Seating {
  /** Made anew after every change of the chain, which makes all seats void; null is never a new seat's routes. */
  routes: Routes | null = null
  roster: Roster
  policy: CompiledPolicy | undefined
  /** What was given by `use`, after the policy's own. */
  readonly used: { readonly pattern: string | undefined; readonly middleware: Middleware }[] = []
  readonly #gate: object
  readonly #clock: Clock
  /** Whether any message was decided. */
  #isRouted = false
  readonly #store: Store
  readonly #desk: Desk
  #sought: Promise<void> | undefined
  readonly #scales: Scales
  /** What handlers behind the gate do with their messages. */
  readonly handling: Handling
  /** Counts of what brokers hold. */
  readonly held: HeldCounts

  constructor(
    gate: Owner,
    store: Store,
    desk: Desk,
    dialect: Dialect,
    scales: Scales,
    report: ReportRefusal,
  ) {
    this.#gate = gate
    this.#clock = gate.clock
    this.#store = store
    this.#desk = desk
    this.#scales = scales
    this.handling = new Handling(
      gate.clock,
      gate.logger,
      (...opened) => desk.tellOpened(...opened),
      message => this.seatFor(message).identity,
    )
    this.held = new HeldCounts({
      senderOf: message => this.seatFor(message).identity,
      isExempt: message => this.#isExempt(message),
      report: (decision, message) => report(decision, message, this.seatFor(message)),
    })
    this.roster = desk.assemble(undefined, dialect, this.used)
  }

  /**
   * Puts a chain in force: a policy's, with what was added in code and at run time. Returns the names of rules that are no
   * more. Throws PolicyError, and leaves all as it was.
   */
  build(policy: CompiledPolicy | undefined, dialect: Dialect): readonly string[] {
    const before = this.roster.names
    this.roster = this.#desk.assemble(policy, dialect, this.used)
    this.policy = policy
    this.routes = null
    this.handling.follow(this.roster.entries)
    this.held.follow(this.roster.entries)
    this.#adopt()
    return [...before].filter(name => !this.roster.names.has(name))
  }

  /** Forgets what was counted, also what overrides count apart; returns how many keys. */
  async reset(selector: Selector): Promise<number> {
    let count = await this.#store.forget(selector)
    const rule = selector.rule === undefined ? undefined : this.roster.countedAs(selector.rule)
    const apart = rule === undefined ? [] : this.#desk.overrideSelectors(rule, selector.key)
    for (let first = 0; first < apart.length; first += FORGOTTEN_AT_ONCE) {
      const some = apart.slice(first, first + FORGOTTEN_AT_ONCE)
      for (const forgotten of await Promise.all(some.map(each => this.#store.forget(each))))
        count += forgotten
    }
    return count
  }

  /** The refusal of a banned sender, by what its connect tells of it. */
  banOf(sender: Sender): Decision | undefined {
    if (this.#desk.standing.bans.isEmpty) return undefined
    const message: Message = { topic: 'connect', on: 'connect', sender, size: 0 }
    const seat = this.routesNow().settle(new Seat(sender, sender), message)
    // Nobody waits for a tier here.
    this.#desk.takeSought()
    const { decider } = seat.ruling!
    return decider.kind === 'banned' ? decider.decide(message, seat, this.#clock.now()) : undefined
  }

  /** Takes a connect to account whose sender is authenticated now; the refusal of one too many. */
  confirmConnect(message: Message): Decision | undefined {
    const seat = this.seatFor(message)
    const nowMs = this.#clock.now()
    const { decider } = planFor(seat, nowMs)
    if (decider.kind === 'banned') return decider.decide(message, seat, nowMs)
    return decider.kind === 'connect' ? decider.confirm(message, seat, nowMs) : undefined
  }

  /** Takes a refusal to account. Never throws. */
  punish(decision: Decision, message: Message): void {
    this.#desk.note(decision, this.roster, message, this.seatFor(message).identity)
  }

  /** Adds to the chain in force. Throws PolicyError. */
  add(pattern: string | undefined, middleware: Middleware): void {
    this.roster.add(pattern, middleware)
    this.used.push({ pattern, middleware })
    this.routes = null
    this.handling.follow(this.roster.entries)
    this.held.follow(this.roster.entries)
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
    if (this.#isRouted) this.#scales.follow(this.roster.entries)
    this.#store.adopt(limitsInForce(this.roster, this.#desk.standing), this.#clock.now())
  }

  /** Has every seat settled anew when it is next asked for; nothing is compiled anew. */
  renew(): void {
    this.routes = this.routes?.renewed() ?? null
  }

  /** The seat of a message's sender, turned to its topic. */
  seatFor(message: Message): Seat {
    this.#sought = undefined
    const routes = this.routesNow()
    if (!routes.areKept) return this.#settle(routes, new Seat(message.sender, message.sender), message)
    if (typeof message.sender !== 'object') checkMessage(message)
    const seat = seatOf(message.sender, this.#gate)
    if (seat.routes === routes && seat.topic === message.topic && seat.on === message.on) return seat
    if (seat.routes === routes && seat.returnTo(message.topic, message.on)) return seat
    return this.#settle(routes, seat, message)
  }

  /**
   * What the sender that was seated last has to wait for, while its tier is being looked up: whoever decides asks for its
   * seat again then.
   */
  get sought(): Promise<void> | undefined {
    return this.#sought
  }

  #isExempt(message: Message): boolean {
    const seat = this.seatFor(message)
    const nowMs = this.#clock.now()
    return isExempt(planFor(seat, nowMs).steps, message, seat.identity, nowMs)
  }

  #settle(routes: Routes, seat: Seat, message: Message): Seat {
    checkMessage(message)
    routes.settle(seat, message)
    this.#sought = this.#desk.takeSought()
    if (this.#sought !== undefined) seat.routes = undefined
    return seat
  }

  routesNow(): Routes {
    if (this.routes === null) this.#scales.follow(this.roster.entries)
    this.#isRouted = true
    this.routes ??= new Routes({
      ...{ gate: this.#gate, roster: this.roster, identity: this.policy?.identity, store: this.#store },
      ...{ standing: this.#desk.standing, warner: this.#desk.warner },
    })
    return this.routes
  }
}
