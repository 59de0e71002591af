import { type Behaving, type BehaviourSpec, compileBehaviour } from '../chain/conduct.ts'
import type { Rule } from '../chain/limit.ts'
import { concerns, counterOf, overrideName } from '../chain/override.ts'
import { compilePenalty, type Penalty, type PenaltySpec } from '../chain/penalty.ts'
import { Roster } from '../chain/roster.ts'
import { compareAge, Standing } from '../chain/standing.ts'
import { compileTiers, type Tiers, type TiersSpec } from '../chain/tiers.ts'
import { fineRule } from '../chain/treat.ts'
import { Warner } from '../chain/warn.ts'
import type { Clock } from '../clock.ts'
import type { Decision } from '../decision.ts'
import { checkWithin } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Dialect, Message, Sender } from '../message.ts'
import type { CompiledEntry, CompiledPolicy } from '../policy/compile.ts'
import type { SharedNote } from '../stores/notes.ts'
import type { Selector, Store } from '../stores/store.ts'
import { Board, type BoardHooks } from './board.ts'
import {
  type AddedExemption,
  type BanOptions,
  banCraft,
  exemptionCraft,
  type OverrideOptions,
  overrideCraft,
  type RunTimeExemption,
  type TierOptions,
  tierCraft,
} from './crafts.ts'
import type { GateEvents } from './events.ts'
import { NOTE_KINDS, type Note, type NoteKind } from './note.ts'
import { Penalties } from './penalties.ts'
import { SampledLog } from './sampled-log.ts'
import { Sharing, sharedName } from './sharing.ts'
import { TierFinder, type TierLookup } from './tier-lookup.ts'
import { breakerCraft, conductCraft, type Opened } from './told.ts'

/** What a gate is told of tiers and penalties in code; a policy that speaks of them takes their place. */
export interface DeskOptions {
  /** Tiers; `{}` gives the five there are by default. */
  readonly tiers?: TiersSpec | undefined
  /** Who is of which tier, by a function of the user's own. */
  readonly tierOf?: TierLookup | TierLookup['of'] | undefined
  readonly penalties?: PenaltySpec | undefined
  /** Limits that follow the behaviour of who sends; `{}` for 1.2 and 0.3 of them. */
  readonly behaviour?: BehaviourSpec | undefined
}

/** What the desk asks of its gate. */
export interface DeskHooks {
  readonly clock: Clock
  readonly logger: Logger
  readonly store: Store
  /** Has all seats settled anew. */
  renew(): void
  /** Has the chain built anew, with `exemptions` in front. Throws PolicyError. */
  rebuild(): void
  /** Decisions may differ from now on, with all seats as they are. */
  changed(): void
  rules(): readonly Rule[]
  /** Another node has found a breaker open for a key until a moment. */
  opened(breaker: string, key: string, untilMs: number): void
  tell<Name extends 'warning' | 'audit'>(event: Name, ...args: GateEvents[Name]): void
}

/** All that is said of senders while a gate runs: bans, overrides, exemptions, tiers, penalties. */
export class Desk {
  readonly standing: Standing
  readonly warner: Warner
  readonly bans: Board<BanOptions>
  readonly overrides: Board<OverrideOptions>
  readonly exemptions: Board<RunTimeExemption>
  readonly tiers: Board<TierOptions>
  /** Runtime exemptions by name. */
  readonly stations = new Map<string, AddedExemption>()
  readonly #hooks: DeskHooks
  readonly #boards: Readonly<Record<NoteKind, Board<object>>>
  readonly #penalties: Penalties
  readonly #sharing: Sharing | undefined
  readonly #finder: TierFinder | undefined
  readonly #own: {
    readonly tiers: Tiers | undefined
    readonly penalty: Penalty | undefined
    readonly behaving: Behaving | undefined
  }
  readonly #opened: Board<Opened>
  #penalty: Penalty | undefined

  /** Throws PolicyError. */
  constructor(options: DeskOptions, hooks: DeskHooks) {
    this.#hooks = hooks
    const { clock, logger, store } = hooks
    this.warner = new Warner(warning => hooks.tell('warning', warning))
    const tiers = checkWithin('tiers', () => compileTiers(options.tiers ?? (options.tierOf && {})))
    this.#own = {
      tiers,
      penalty: checkWithin('penalties', () => compilePenalty(options.penalties)),
      behaving: checkWithin('behaviour', () => compileBehaviour(options.behaviour)),
    }
    const boardHooks: BoardHooks = {
      clock,
      changed: () => hooks.renew(),
      audit: change => {
        logger.info({ audit: change }, `${change.kind} ${change.action}`)
        hooks.tell('audit', change)
      },
      share: async (kind, id, note) => this.#sharing?.tell(kind, id, note),
    }
    // Seats ask for conducts and breakers by themselves; how often a breaker opens is no matter of an audit.
    const quiet = { ...boardHooks, changed: () => hooks.changed() }
    const lost = new SampledLog(clock, logger, 'a note could not be kept: it counts on this node only')
    this.standing = new Standing((whom, why, untilMs) => {
      const blamed = { whom, reason: why, addedBy: 'behaviour', for: untilMs - clock.now() }
      conducts.add(blamed).catch((err: unknown) => lost.note({ err }))
    })
    const known = this.standing.conducts
    const conducts = new Board(
      conductCraft(
        (whom, untilMs) => known.hold(whom, untilMs),
        whom => known.forgive(whom, clock.now()),
      ),
      quiet,
    )
    this.#opened = new Board(
      breakerCraft((breaker, key, untilMs) => hooks.opened(breaker, key, untilMs)),
      { ...quiet, changed: () => {}, audit: () => {} },
    )
    this.bans = new Board(banCraft(this.standing), boardHooks)
    this.overrides = new Board(
      overrideCraft(this.standing, () => this.#countedRules()),
      boardHooks,
    )
    this.exemptions = new Board(
      exemptionCraft(this.stations, () => hooks.rebuild()),
      boardHooks,
    )
    this.tiers = new Board(tierCraft(this.standing), boardHooks)
    this.#boards = {
      ban: this.bans,
      override: this.overrides,
      exemption: this.exemptions,
      tier: this.tiers,
      conduct: conducts,
      breaker: this.#opened,
    } as never
    this.#penalties = new Penalties(this.bans, new SampledLog(clock, logger, 'a sender could not be blocked'))
    const { tierOf } = options
    if (tierOf !== undefined) {
      const lookup = typeof tierOf === 'function' ? { of: tierOf } : tierOf
      const finder = new TierFinder(lookup, clock, logger, () => hooks.renew())
      this.#finder = finder
      this.standing.found = sender => finder.of(sender)
    }
    this.#sharing =
      store.notes &&
      new Sharing(store.notes, {
        ...{ clock, logger },
        known: () => NOTE_KINDS.flatMap(kind => this.#boards[kind].list().map(note => [kind, note] as const)),
        merge: (notes, untold) => this.#merge(notes, untold),
      })
  }

  /** The chain: run-time exemptions, the policy's entries, what code has added, and the limits of tiers. Throws PolicyError. */
  assemble(policy: CompiledPolicy | undefined, dialect: Dialect, used: readonly CompiledEntry[]): Roster {
    const roster = new Roster(dialect)
    // By age: other nodes learn of them in any order.
    for (const { middleware } of [...this.stations.values()].sort(compareAge))
      roster.add(undefined, middleware, true)
    if (policy?.adaptive !== undefined) roster.add(undefined, policy.adaptive)
    for (const { pattern, middleware } of [...(policy?.entries ?? []), ...used])
      roster.add(pattern, middleware)
    const tiers = policy?.tiers ?? this.#own.tiers
    for (const { rule } of tiers?.byName.values() ?? []) if (rule !== undefined) roster.addTier(rule)
    this.standing.tiers = tiers
    this.standing.behaving = policy?.behaving ?? this.#own.behaving
    const penalty = policy?.penalty ?? this.#own.penalty
    this.#penalty = penalty
    this.standing.flaps =
      penalty && penalty.flapping.length > 0
        ? {
            take: (sender, connect, nowMs) => this.#penalties.flaps(penalty, sender, connect, nowMs),
            confirm: (sender, connect, nowMs) =>
              this.#penalties.confirmFlaps(penalty, sender, connect, nowMs),
            peek: (sender, nowMs) => this.#penalties.peekFlaps(penalty, sender, nowMs),
          }
        : undefined
    return roster
  }

  /** Selects what overrides in effect have counted for a rule, or for one of its keys. */
  overrideSelectors(rule: Rule, key: string | undefined): readonly Selector[] {
    const selectors = new Map<string, Selector>()
    for (const override of this.standing.overrides.values()) {
      const { grant } = override
      if (grant.kind === 'unlimited' || !concerns(override, rule)) continue
      const name = overrideName(rule.limit, grant)
      if (key === undefined) selectors.set(name, { rule: name })
      else selectors.set(override.id, { rule: name, key: counterOf(override) + key })
    }
    return [...selectors.values()]
  }

  /** Whether refusals are to be told of. */
  punishes(roster: Roster): boolean {
    return this.#penalty !== undefined || roster.hasPenalties
  }

  /** Takes a refusal to account. Never throws. */
  note(decision: Decision, roster: Roster, message: Message, sender: Sender): void {
    const own = decision.rule === undefined ? undefined : roster.penaltyOf(decision.rule)
    const penalty = own ?? this.#penalty
    if (penalty === undefined) return
    const name = own === undefined ? '' : decision.rule!
    this.#penalties.note(penalty, name, decision, message, sender, this.#hooks.clock.now())
  }

  /** What a tier is being looked up for, where the sender settled last has to wait for it. */
  takeSought(): Promise<void> | undefined {
    return this.#finder?.takeSought()
  }

  /** Asks the store once what the other nodes know; from then on by itself. Never rejects. */
  async look(): Promise<void> {
    await this.#sharing?.look()
  }

  /** Tells all nodes that a breaker is open for a key until a moment. */
  tellOpened(breaker: string, key: string, untilMs: number): void {
    const length = Math.max(1, Math.round(untilMs - this.#hooks.clock.now()))
    // Where it cannot be told, the others find out for themselves.
    this.#opened.add({ breaker, key, reason: 'open', addedBy: 'breaker', for: length }).catch(() => {})
  }

  /** Ends all timers, and waits until the other nodes were told what was said last, as far as the store is in reach. */
  async close(): Promise<void> {
    this.#finder?.close()
    for (const board of Object.values(this.#boards)) board.close()
    await this.#sharing?.close()
  }

  /** The rules, in thousandths where tiers make fractions of costs. */
  #countedRules(): readonly Rule[] {
    const rules = this.#hooks.rules()
    if (this.standing.tiers?.fractional !== true) return rules
    return rules.map(fineRule)
  }

  #merge(notes: readonly SharedNote[], untold: ReadonlySet<string>): void {
    const report = (err: unknown): void =>
      this.#hooks.logger.warn({ err }, 'something other nodes know could not be put into effect')
    let changed = false
    for (const kind of NOTE_KINDS) {
      const theirs = new Map<string, Note>()
      for (const { kind: its, id, json } of notes) {
        if (its !== kind) continue
        try {
          theirs.set(id, JSON.parse(json) as Note)
        } catch (err) {
          report(err)
        }
      }
      const here = [...untold].flatMap(name =>
        name.startsWith(`${kind} `) ? [name.slice(sharedName(kind, '').length)] : [],
      )
      const merged = this.#boards[kind].merge(theirs, new Set(here), report)
      if (kind !== 'conduct' && kind !== 'breaker') changed = merged || changed
    }
    if (changed) this.#hooks.renew()
  }
}
