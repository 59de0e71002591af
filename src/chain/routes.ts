import type { Decision } from '../decision.ts'
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
import type { Seat } from './seat.ts'
import { type Entry, type ExemptStep, planSteps, type Step } from './steps.ts'

/**
 * What a sender on one topic amounts to: settled at its first message there, so that the later ones look up no
 * string. Void once the gate has other routes.
 */
export interface Binding {
  readonly routes: Routes
  /** The sender as the message brought it, and where its bindings are kept. */
  readonly owner: Sender
  readonly seat: Seat
  readonly topic: string
  readonly on: Action
  readonly plan: ActionPlan
  /** The sender after the policy's `senders`. */
  readonly sender: Sender
  /** Exempt whatever the message holds. */
  readonly exempt: Decision | undefined
  /** Exemptions that cover the sender but must be asked about each message. */
  readonly conditional: readonly ExemptStep[]
  /** Slot and generation, two numbers a rule; only of a fused plan. */
  readonly slots: number[]
  /** Keys by rule, made when first needed; only of a chained plan. */
  readonly keys: (string | undefined)[] | undefined
}

/** One action on one route: its steps, and how they are decided. */
export interface ActionPlan {
  readonly steps: readonly Step[]
  readonly decider: FusedPlan | ChainedPlan
}

interface RoutePlan {
  readonly entries: readonly Entry[]
  readonly actions: Map<Action, ActionPlan>
}

// Shared by all bindings that need none: a binding is kept for each connection.
const NO_EXEMPTIONS: readonly ExemptStep[] = []
const NO_SLOTS: number[] = []

/** All routes of one state of the chain; any change of the chain makes new ones. */
export class Routes {
  readonly #roster: Roster
  readonly #identity: Identity | undefined
  readonly #store: Store
  readonly #router: Router<RoutePlan>

  constructor(roster: Roster, identity: Identity | undefined, store: Store) {
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

  /** Patterns that match a message's topic, in the order of the list; undefined stands for every topic. */
  patternsOf(message: Message): readonly (string | undefined)[] {
    return this.#routeOf(message).entries.map(({ pattern }) => pattern?.text)
  }

  bind(message: Message, seat: Seat): Binding {
    const { topic, on } = message
    const route = this.#routeOf(message)
    const plan = this.#actionPlan(route, on)
    const sender = this.#senderOf(message, route)
    const covering = plan.steps.filter(
      (step): step is ExemptStep => step.kind === 'exempt' && step.station.covers(topic, sender),
    )
    const conditional = covering.filter(({ station }) => !isSettled(station))
    const fused = plan.decider instanceof FusedPlan
    return {
      routes: this,
      owner: message.sender,
      seat,
      topic,
      on,
      plan,
      sender,
      exempt: fused ? covering.find(({ station }) => isSettled(station))?.station.decision : undefined,
      conditional: conditional.length === 0 ? NO_EXEMPTIONS : conditional,
      slots: fused ? plan.steps.flatMap(slotsOf) : NO_SLOTS,
      keys: fused ? undefined : [],
    }
  }

  #routeOf({ topic, on }: Message): RoutePlan {
    return (on === 'subscribe' ? this.#router.routeOfFilter(topic) : this.#router.route(topic)).plan
  }

  #senderOf(message: Message, plan: RoutePlan): Sender {
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
      action = { steps, decider: this.#deciderOf(steps) }
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

/** Two numbers a rule: a slot that is none yet, and a generation that no slot has. */
function slotsOf(step: Step): readonly number[] {
  if (step.kind === 'limits') return step.rules.flatMap(() => [0, -1])
  return step.kind === 'exempt' && step.own !== undefined ? [0, -1] : []
}
