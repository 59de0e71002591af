import type { Limit } from '../algorithms/limit.ts'
import { BOUNDS } from '../bounds.ts'
import { PASSED } from '../decision.ts'
import type { Action, Message, Sender } from '../message.ts'
import { MemoryStore } from '../stores/memory.ts'
import type { Store } from '../stores/store.ts'
import { captureLevels } from '../topic/pattern.ts'
import { Router } from '../topic/router.ts'
import { ChainedPlan } from './chained-plan.ts'
import type { Behaving, Conduct } from './conduct.ts'
import { behavingSteps } from './conduct-rule.ts'
import { ConnectPlan } from './connect-plan.ts'
import { isSettled } from './exempt.ts'
import type { Passed } from './fold.ts'
import { FusedPlan } from './fused-plan.ts'
import type { Identity } from './identity.ts'
import type { Override } from './override.ts'
import type { Roster } from './roster.ts'
import type { ActionPlan, Ruling, Selective } from './ruling.ts'
import type { Seat } from './seat.ts'
import { type Ban, banned, type Standing, type Treatment } from './standing.ts'
import { type Entry, planSteps, type Step, stationOf } from './steps.ts'
import { inCommonUnit, overrideBy, treatSteps } from './treat.ts'
import type { Warner } from './warn.ts'
import { type ConductPlan, WatchedPlan } from './watched-plan.ts'

interface RoutePlan {
  readonly entries: readonly Entry[]
  readonly actions: Map<Action, ActionPlan>
}

/** What routes are made of. */
export interface Chain {
  /** Whose routes they are. */
  readonly gate: object
  readonly roster: Roster
  readonly identity: Identity | undefined
  readonly store: Store
  readonly standing: Standing
  readonly warner: Warner
}

/** All routes of one state of the chain; any change of the chain makes new ones. */
export class Routes {
  /** Whose routes they are. */
  readonly gate: object
  readonly #chain: Chain
  readonly #identity: Identity | undefined
  readonly #router: Router<RoutePlan>

  constructor(chain: Chain, router: Router<RoutePlan> = routerOf(chain.roster)) {
    this.gate = chain.gate
    this.#chain = chain
    this.#identity = chain.identity
    this.#router = router
  }

  /** The same routes as another object: all seats are settled anew, nothing is compiled anew. */
  renewed(): Routes {
    return new Routes(this.#chain, this.#router)
  }

  /** Where headers tell who the sender is, the next message on the same connection may come from someone else. */
  get areKept(): boolean {
    return this.#identity?.usesHeaders !== true
  }

  /** Patterns that lead a message to a station, in the order of the list; undefined stands for every topic. */
  patternsOf(message: Message): readonly (string | undefined)[] {
    const asked = this.#routeOf(message).entries.filter(({ middleware }) => {
      const station = stationOf(middleware)
      if (station?.kind === 'size') return station.size.on === message.on
      return station?.kind !== 'limit' || station.rule?.on === message.on
    })
    return [...new Set(asked.map(({ pattern }) => pattern?.text))]
  }

  /** Settles what a sender amounts to on a message's topic, and turns its seat to it. */
  settle(seat: Seat, message: Message): Seat {
    const { topic, on } = message
    const route = this.#routeOf(message)
    const plan = this.#actionPlan(route, on)
    const known = this.#identityOf(message, route)
    const treatment = this.#chain.standing.of(known)
    const { ban, tier } = treatment
    // With tiers, a name that is none of them is no tier: else anyone could have a counter of their own by inventing names.
    const tierName = this.#chain.standing.tiers === undefined ? known.tier : tier?.name
    const identity = tierName === known.tier ? known : withTier(known, tierName)
    const ruling =
      ban === undefined
        ? rulingOf(this.#treated(plan, on, treatment, identity), topic, identity)
        : refusing(ban)
    seat.turnTo(this, topic, on, ruling, identity)
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
      const steps = inCommonUnit(planSteps(plan.entries, on), this.#chain.standing.tiers)
      action = this.#planOf(steps, on)
      plan.actions.set(on, action)
    }
    return action
  }

  /** The plan for senders that are treated alike. */
  #treated(plan: ActionPlan, on: Action, treatment: Treatment, identity: Sender): ActionPlan {
    const { selective } = plan
    const notFor = selective.length === 0 ? selective : selective.filter(rule => !rule.covers!(identity))
    if (treatment.key === '' && notFor.length === 0) return plan
    const key = `${notFor.map(rule => selective.indexOf(rule)).join()}:${treatment.key}`
    let treated = plan.treated.get(key)
    if (treated === undefined) {
      const { steps, passed } = treatSteps(withoutRules(plan.steps, notFor), on, treatment)
      treated = this.#planOf(steps, on, passed, notFor)
      if (plan.treated.size >= BOUNDS.rulingsPerPlan) plan.treated.clear()
      plan.treated.set(key, treated)
    }
    return treated
  }

  #planOf(
    steps: readonly Step[],
    on: Action,
    passed: Passed = PASSED,
    notFor: readonly Selective[] = [],
  ): ActionPlan {
    const decider = this.#finished(steps, on, passed)
    const selective = steps.flatMap(selectiveRules)
    return { steps, passed, decider, selective, notFor, rulings: new Map(), treated: new Map() }
  }

  /** What decides, with what goes by more than the chain: connects, and the behaviour of who sends. */
  #finished(steps: readonly Step[], on: Action, passed: Passed): ActionPlan['decider'] {
    const { behaving, flaps } = this.#chain.standing
    // What is done to somebody is not its behaviour.
    if (behaving !== undefined && on === 'publish') return this.#watch(steps, behaving, passed)
    const decider = this.#deciderOf(steps, passed)
    return flaps !== undefined && on === 'connect' ? new ConnectPlan(decider, flaps) : decider
  }

  #watch(steps: readonly Step[], behaving: Behaving, passed: Passed): WatchedPlan {
    const planOf = (conduct: Conduct): ConductPlan => {
      const behaved = behavingSteps(steps, conduct, behaving)
      return { steps: behaved, decider: this.#deciderOf(behaved, passed) }
    }
    const plans = { good: planOf('good'), usual: planOf('usual'), abusive: planOf('abusive') }
    return new WatchedPlan(plans, this.#chain.standing.conducts, behaving)
  }

  #deciderOf(steps: readonly Step[], passed: Passed): FusedPlan | ChainedPlan {
    const exempts = steps.filter(step => step.kind === 'exempt')
    const last = steps.at(-1)
    const rules = last?.kind === 'limits' ? last.rules : []
    const sizes = steps.filter(step => step.kind === 'sizes')
    const fusable = exempts.length + sizes.length + (rules.length > 0 ? 1 : 0) === steps.length
    const { store, warner } = this.#chain
    return fusable && store instanceof MemoryStore
      ? new FusedPlan(
          exempts,
          rules,
          store,
          warner,
          passed,
          sizes.flatMap(step => step.rules),
        )
      : new ChainedPlan(steps, store, warner, passed)
  }
}

const ACTIONS = ['publish', 'subscribe', 'connect', 'deliver'] as const satisfies readonly Action[]

/** Returns the limits that the plans of a chain count by now, also those that overrides make of them. */
export function limitsInForce(roster: Roster, standing: Standing): readonly Limit[] {
  const { tiers, behaving } = standing
  const overrides = distinctOverrides(standing)
  const limits = new Set<Limit>()
  for (const on of ACTIONS) {
    const common = inCommonUnit(planSteps(roster.entries, on), tiers)
    const overridden = overrides.map(each => treatSteps(common, on, { overrides: [each], key: '' }).steps)
    const isWatched = behaving !== undefined && on === 'publish'
    for (const treated of [common, ...overridden]) {
      const steps = isWatched ? behavingSteps(treated, 'usual', behaving) : treated
      for (const step of steps) {
        if (step.kind === 'limits') for (const { rule } of step.rules) limits.add(rule.limit)
        else if (step.kind === 'exempt' && step.own !== undefined) limits.add(step.own.rule.limit)
      }
    }
  }
  for (const { rule } of tiers?.byName.values() ?? []) {
    if (rule === undefined) continue
    for (const each of [[], ...overrides.map(override => [override])]) {
      const limit = overrideBy(rule, each)?.limit
      if (limit !== undefined) limits.add(limit)
    }
  }
  return [...limits]
}

/** One of the overrides in effect for each text and list of rules; of very many kinds, some. */
function distinctOverrides({ overrides }: Standing): readonly Override[] {
  const kinds = new Map<string, Override>()
  for (const override of overrides.values()) {
    if (kinds.size >= BOUNDS.overriddenLimits) break
    kinds.set(override.kind, override)
  }
  return [...kinds.values()]
}

function routerOf(roster: Roster): Router<RoutePlan> {
  const router = new Router<RoutePlan>(roster.dialect, ids => ({
    entries: ids.map(id => roster.entries[id]!),
    actions: new Map(),
  }))
  roster.entries.forEach(({ pattern }, id) => {
    router.add(pattern, id)
  })
  return router
}

function selectiveRules(step: Step): readonly Selective[] {
  if (step.kind === 'sizes') return step.rules.filter(({ covers }) => covers !== undefined)
  if (step.kind !== 'limits') return []
  return step.rules.map(({ rule }) => rule).filter(({ covers }) => covers !== undefined)
}

/** The steps of a route without some of its rules. */
function withoutRules(steps: readonly Step[], left: readonly Selective[]): readonly Step[] {
  if (left.length === 0) return steps
  return steps.flatMap((step): readonly Step[] => {
    if (step.kind === 'sizes') {
      const sizes = step.rules.filter(rule => !left.includes(rule))
      return sizes.length === 0 ? [] : [{ ...step, rules: sizes }]
    }
    if (step.kind !== 'limits') return [step]
    const rules = step.rules.filter(({ rule }) => !left.includes(rule))
    return rules.length === 0 ? [] : [{ ...step, rules }]
  })
}

function withTier(sender: Sender, tier: string | undefined): Sender {
  const { client, user, device, apiKey, ip, roles } = sender
  return { client, user, device, apiKey, ip, roles, tier } as Sender
}

/** The ruling of somebody who is banned. */
function refusing(ban: Ban): Ruling {
  const decider = {
    kind: 'banned',
    ban,
    decide: (_message: Message, _seat: Seat, nowMs: number) => banned(ban, nowMs),
  } as const
  const none = { steps: [], selective: [], notFor: [], rulings: new Map(), treated: new Map() }
  const plan: ActionPlan = { ...none, passed: PASSED, decider }
  return { decider, plan, conditional: [], exempt: undefined }
}

/** The ruling of a plan for a sender; one for each set of exemptions that can cover. */
function rulingOf(plan: ActionPlan, topic: string, identity: Sender): Ruling {
  const exempts = plan.steps.filter(step => step.kind === 'exempt')
  const covering = exempts.filter(({ station }) => station.covers(topic, identity))
  const shape = covering.map(step => exempts.indexOf(step)).join()
  let ruling = plan.rulings.get(shape)
  if (ruling === undefined) {
    const { decider } = plan
    const settledAt = covering.findIndex(({ station }) => isSettled(station))
    const buckets = covering.length === 0 && decider.kind === 'fused' ? decider.buckets : undefined
    ruling = {
      decider: buckets ?? decider,
      plan,
      conditional: settledAt < 0 ? covering : covering.slice(0, settledAt),
      exempt: covering[settledAt]?.station.decision,
    }
    if (plan.rulings.size >= BOUNDS.rulingsPerPlan) plan.rulings.clear()
    plan.rulings.set(shape, ruling)
  }
  return ruling
}
