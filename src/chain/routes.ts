import { BOUNDS } from '../bounds.ts'
import type { Action, Message, Sender } from '../message.ts'
import { MemoryStore } from '../stores/memory.ts'
import type { Store } from '../stores/store.ts'
import { captureLevels } from '../topic/pattern.ts'
import { Router } from '../topic/router.ts'
import { ChainedPlan } from './chained-plan.ts'
import { isSettled } from './exempt.ts'
import { FusedPlan } from './fused-plan.ts'
import type { Identity } from './identity.ts'
import type { Roster } from './roster.ts'
import type { ActionPlan, Ruling } from './ruling.ts'
import type { Seat } from './seat.ts'
import { type Entry, planSteps, type Step, stationOf } from './steps.ts'

interface RoutePlan {
  readonly entries: readonly Entry[]
  readonly actions: Map<Action, ActionPlan>
}

/** All routes of one state of the chain; any change of the chain makes new ones. */
export class Routes {
  /** Whose routes they are. */
  readonly gate: object
  readonly #roster: Roster
  readonly #identity: Identity | undefined
  readonly #store: Store
  readonly #router: Router<RoutePlan>

  constructor(gate: object, roster: Roster, identity: Identity | undefined, store: Store) {
    this.gate = gate
    this.#roster = roster
    this.#identity = identity
    this.#store = store
    this.#router = new Router(roster.dialect, ids => ({
      entries: ids.map(id => this.#roster.entries[id]!),
      actions: new Map(),
    }))
    roster.entries.forEach(({ pattern }, id) => {
      this.#router.add(pattern, id)
    })
  }

  /** Where headers tell who the sender is, the next message on the same connection may come from someone else. */
  get areKept(): boolean {
    return this.#identity?.usesHeaders !== true
  }

  /** Patterns that lead a message to a station, in the order of the list; undefined stands for every topic. */
  patternsOf(message: Message): readonly (string | undefined)[] {
    const asked = this.#routeOf(message).entries.filter(({ middleware }) => {
      const station = stationOf(middleware)
      return station?.kind !== 'limit' || station.rule?.on === message.on
    })
    return [...new Set(asked.map(({ pattern }) => pattern?.text))]
  }

  /** Settles what a sender amounts to on a message's topic, and turns its seat to it. */
  settle(seat: Seat, message: Message): Seat {
    const { topic, on } = message
    const route = this.#routeOf(message)
    const plan = this.#actionPlan(route, on)
    const identity = this.#identityOf(message, route)
    seat.turnTo(this, topic, on, rulingOf(plan, topic, identity), identity)
    return seat
  }

  #routeOf({ topic, on }: Message): RoutePlan {
    return (on === 'subscribe' ? this.#router.routeOfFilter(topic) : this.#router.route(topic)).plan
  }

  #identityOf(message: Message, plan: RoutePlan): Sender {
    if (this.#identity === undefined) return message.sender
    const captures = new Map<string, string>()
    for (const { pattern } of plan.entries) {
      if (pattern === undefined || pattern.captures.length === 0) continue
      for (const [name, level] of captureLevels(pattern, message.topic)) {
        if (!captures.has(name)) captures.set(name, level)
      }
    }
    return this.#identity.resolve(message, captures)
  }

  #actionPlan(plan: RoutePlan, on: Action): ActionPlan {
    let action = plan.actions.get(on)
    if (action === undefined) {
      const steps = planSteps(plan.entries, on)
      action = { steps, decider: this.#deciderOf(steps), rulings: new Map() }
      plan.actions.set(on, action)
    }
    return action
  }

  #deciderOf(steps: readonly Step[]): FusedPlan | ChainedPlan {
    const exempts = steps.filter(step => step.kind === 'exempt')
    const last = steps.at(-1)
    const rules = last?.kind === 'limits' ? last.rules : []
    const fusable = exempts.length + (rules.length > 0 ? 1 : 0) === steps.length
    return fusable && this.#store instanceof MemoryStore
      ? new FusedPlan(exempts, rules, this.#store)
      : new ChainedPlan(steps, this.#store)
  }
}

/** The ruling of a plan for a sender; one for each set of exemptions that can cover. */
function rulingOf(plan: ActionPlan, topic: string, identity: Sender): Ruling {
  const exempts = plan.steps.filter(step => step.kind === 'exempt')
  const covering = exempts.filter(({ station }) => station.covers(topic, identity))
  const shape = covering.map(step => exempts.indexOf(step)).join()
  let ruling = plan.rulings.get(shape)
  if (ruling === undefined) {
    ruling = {
      plan,
      exempt: covering.find(({ station }) => isSettled(station))?.station.decision,
      conditional: covering.filter(({ station }) => !isSettled(station)),
    }
    if (plan.rulings.size >= BOUNDS.rulingsPerPlan) plan.rulings.clear()
    plan.rulings.set(shape, ruling)
  }
  return ruling
}
