import { RuleRegistry } from '../chain/routing/rule-registry.ts'
import { compareAge } from '../chain/rules/entry-age.ts'
import { compilePenalty, type Penalty, type PenaltySpec } from '../chain/rules/penalty.ts'
import { concerns, counterOf, overrideName } from '../chain/rules/rate-override.ts'
import type { Rule } from '../chain/rules/rule.ts'
import { compileTiers, type Tiers, type TiersSpec } from '../chain/rules/tiers.ts'
import { UsageWarnings } from '../chain/rules/usage-warning.ts'
import { ruleInThousandths } from '../chain/senders/apply-overrides.ts'
import { type BehaviourSpec, type CompiledBehaviour, compileBehaviour } from '../chain/senders/behaviour.ts'
import { SenderOverrides } from '../chain/senders/sender-overrides.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { checkWithin } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Dialect, Message, Sender } from '../core/message.ts'
import { ThrottledLog } from '../core/throttled-log.ts'
import type { CompiledEntry, CompiledPolicy } from '../policy/compile.ts'
import type { SharedEntry } from '../stores/shared-entries.ts'
import type { Selector, Store } from '../stores/store.ts'
import { behaviourEntryType, breakerEntryType, type OpenBreaker } from './automatic-entries.ts'
import { ConfigSync, entryName } from './config-sync.ts'
import {
  type AddedExemption,
  type BanOptions,
  banEntryType,
  exemptionEntryType,
  type OverrideOptions,
  overrideEntryType,
  type RunTimeExemption,
  type TierOptions,
  tierEntryType,
} from './entry-types.ts'
import type { GateEvents } from './gate-events.ts'
import { Penalties } from './penalties.ts'
import { ENTRY_KINDS, type EntryKind, type RuntimeEntry } from './runtime-entry.ts'
import { RuntimeList, type RuntimeListHooks } from './runtime-list.ts'
import { TierCache, type TierLookup } from './tier-cache.ts'

/** Tiers, penalties and behaviour set in code. A policy that defines them takes precedence. */
export interface RuntimeConfigOptions {
  /** Tiers. `{}` uses the five defaults. */
  readonly tiers?: TiersSpec | undefined
  /** Function that looks up the tier of a sender. */
  readonly tierOf?: TierLookup | TierLookup['of'] | undefined
  readonly penalties?: PenaltySpec | undefined
  /** Limits that depend on the sender's behaviour. `{}` uses the default factors 1.2 and 0.3. */
  readonly behaviour?: BehaviourSpec | undefined
}

/** The parts of a gate that the runtime configuration uses. */
export interface RuntimeConfigHooks {
  readonly clock: Clock
  readonly logger: Logger
  readonly store: Store
  /** Makes all senders resolve their plans again. */
  invalidatePlans(): void
  /** Rebuilds the chain, with `exemptions` in front. Throws PolicyError. */
  rebuildChain(): void
  /** Reports that decisions may differ, although plans stay valid. */
  changed(): void
  rules(): readonly Rule[]
  /** Applies a breaker that another node opened for a key. */
  applyOpened(breaker: string, key: string, untilMs: number): void
  emit<Name extends 'warning' | 'audit'>(event: Name, ...args: GateEvents[Name]): void
}

/** Runtime configuration: bans, overrides, exemptions, tiers and penalties. */
export class RuntimeConfig {
  readonly senderOverrides: SenderOverrides
  readonly usageWarnings: UsageWarnings
  readonly bans: RuntimeList<BanOptions>
  readonly overrides: RuntimeList<OverrideOptions>
  readonly exemptions: RuntimeList<RunTimeExemption>
  readonly tiers: RuntimeList<TierOptions>
  /** Runtime exemptions by name. */
  readonly runtimeExemptions = new Map<string, AddedExemption>()
  readonly #hooks: RuntimeConfigHooks
  readonly #runtimeLists: Readonly<Record<EntryKind, RuntimeList<object>>>
  readonly #penalties: Penalties
  readonly #configSync: ConfigSync | undefined
  readonly #tierCache: TierCache | undefined
  readonly #codeOptions: {
    readonly tiers: Tiers | undefined
    readonly penalty: Penalty | undefined
    readonly compiledBehaviour: CompiledBehaviour | undefined
  }
  readonly #openBreakers: RuntimeList<OpenBreaker>
  #penalty: Penalty | undefined

  /** Throws PolicyError. */
  constructor(options: RuntimeConfigOptions, hooks: RuntimeConfigHooks) {
    this.#hooks = hooks
    const { clock, logger, store } = hooks
    this.usageWarnings = new UsageWarnings(warning => hooks.emit('warning', warning))
    const tiers = checkWithin('tiers', () => compileTiers(options.tiers ?? (options.tierOf && {})))
    this.#codeOptions = {
      tiers,
      penalty: checkWithin('penalties', () => compilePenalty(options.penalties)),
      compiledBehaviour: checkWithin('behaviour', () => compileBehaviour(options.behaviour)),
    }
    const listHooks: RuntimeListHooks = {
      clock,
      changed: () => hooks.invalidatePlans(),
      audit: change => {
        logger.info({ audit: change }, `${change.kind} ${change.action}`)
        hooks.emit('audit', change)
      },
      share: async (kind, id, recordRefusal) => this.#configSync?.share(kind, id, recordRefusal),
    }
    // Sender states read behaviour levels and breakers themselves. Breakers open too often for the audit log.
    const quiet = { ...listHooks, changed: () => hooks.changed() }
    const lost = new ThrottledLog(clock, logger, 'a note could not be kept: it counts on this node only')
    this.senderOverrides = new SenderOverrides((whom, why, untilMs) => {
      const blamed = { whom, reason: why, addedBy: 'behaviour', for: untilMs - clock.now() }
      behaviourTracker.add(blamed).catch((err: unknown) => lost.log({ err }))
    })
    const known = this.senderOverrides.behaviourTracker
    const behaviourTracker = new RuntimeList(
      behaviourEntryType(
        (whom, untilMs) => known.hold(whom, untilMs),
        whom => known.forgive(whom, clock.now()),
      ),
      quiet,
    )
    this.#openBreakers = new RuntimeList(
      breakerEntryType((breaker, key, untilMs) => hooks.applyOpened(breaker, key, untilMs)),
      { ...quiet, changed: () => {}, audit: () => {} },
    )
    this.bans = new RuntimeList(banEntryType(this.senderOverrides), listHooks)
    this.overrides = new RuntimeList(
      overrideEntryType(this.senderOverrides, () => this.#countedRules()),
      listHooks,
    )
    this.exemptions = new RuntimeList(
      exemptionEntryType(this.runtimeExemptions, () => hooks.rebuildChain()),
      listHooks,
    )
    this.tiers = new RuntimeList(tierEntryType(this.senderOverrides), listHooks)
    this.#runtimeLists = {
      ban: this.bans,
      override: this.overrides,
      exemption: this.exemptions,
      tier: this.tiers,
      behaviour: behaviourTracker,
      breaker: this.#openBreakers,
    } as never
    this.#penalties = new Penalties(
      this.bans,
      new ThrottledLog(clock, logger, 'a sender could not be blocked'),
    )
    const { tierOf } = options
    if (tierOf !== undefined) {
      const lookup = typeof tierOf === 'function' ? { of: tierOf } : tierOf
      const tierCache = new TierCache(lookup, clock, logger, () => hooks.invalidatePlans())
      this.#tierCache = tierCache
      this.senderOverrides.found = sender => tierCache.of(sender)
    }
    this.#configSync =
      store.sharedEntries &&
      new ConfigSync(store.sharedEntries, {
        ...{ clock, logger },
        listEntries: () =>
          ENTRY_KINDS.flatMap(kind => this.#runtimeLists[kind].list().map(note => [kind, note] as const)),
        merge: (sharedEntries, unsent) => this.#merge(sharedEntries, unsent),
      })
  }

  /**
   * Builds the chain: runtime exemptions, the policy's entries, entries added in code, and the limits of
   * tiers. Throws PolicyError.
   */
  assemble(
    policy: CompiledPolicy | undefined,
    dialect: Dialect,
    used: readonly CompiledEntry[],
  ): RuleRegistry {
    const registry = new RuleRegistry(dialect)
    // Sorted by age, because nodes receive them in any order.
    for (const { middleware } of [...this.runtimeExemptions.values()].sort(compareAge))
      registry.add(undefined, middleware, true)
    if (policy?.adaptive !== undefined) registry.add(undefined, policy.adaptive)
    for (const { pattern, middleware } of [...(policy?.entries ?? []), ...used])
      registry.add(pattern, middleware)
    const tiers = policy?.tiers ?? this.#codeOptions.tiers
    for (const { rule } of tiers?.byName.values() ?? []) if (rule !== undefined) registry.addTier(rule)
    this.senderOverrides.tiers = tiers
    this.senderOverrides.compiledBehaviour = policy?.compiledBehaviour ?? this.#codeOptions.compiledBehaviour
    const penalty = policy?.penalty ?? this.#codeOptions.penalty
    this.#penalty = penalty
    this.senderOverrides.countConnect =
      penalty && penalty.flapping.length > 0
        ? {
            take: (sender, connect, nowMs) => this.#penalties.countConnect(penalty, sender, connect, nowMs),
            confirm: (sender, connect, nowMs) =>
              this.#penalties.confirmConnect(penalty, sender, connect, nowMs),
            peek: (sender, nowMs) => this.#penalties.peekConnect(penalty, sender, nowMs),
          }
        : undefined
    return registry
  }

  /** Returns selectors of the counts that overrides hold for a rule, or for one of its keys. */
  overrideSelectors(rule: Rule, key: string | undefined): readonly Selector[] {
    const selectors = new Map<string, Selector>()
    for (const override of this.senderOverrides.overrides.values()) {
      const { effect } = override
      if (effect.kind === 'unlimited' || !concerns(override, rule)) continue
      const name = overrideName(rule.limit, effect)
      if (key === undefined) selectors.set(name, { rule: name })
      else selectors.set(override.id, { rule: name, key: counterOf(override) + key })
    }
    return [...selectors.values()]
  }

  /** Returns true if refusals have to be recorded. */
  needsRefusals(registry: RuleRegistry): boolean {
    return this.#penalty !== undefined || registry.hasPenalties
  }

  /** Records a refusal for penalties. Never throws. */
  note(decision: Decision, registry: RuleRegistry, message: Message, sender: Sender): void {
    const own = decision.rule === undefined ? undefined : registry.penaltyOf(decision.rule)
    const penalty = own ?? this.#penalty
    if (penalty === undefined) return
    const name = own === undefined ? '' : decision.rule!
    this.#penalties.recordRefusal(penalty, name, decision, message, sender, this.#hooks.clock.now())
  }

  /** Returns the pending tier lookup of the sender resolved last, once. */
  takePendingLookup(): Promise<void> | undefined {
    return this.#tierCache?.takePendingLookup()
  }

  /** Reads the entries of the other nodes and starts polling. Never rejects. */
  async syncEntries(): Promise<void> {
    await this.#configSync?.poll()
  }

  /** Reports to all nodes that a breaker is open for a key until a time. */
  shareOpened(breaker: string, key: string, untilMs: number): void {
    const length = Math.max(1, Math.round(untilMs - this.#hooks.clock.now()))
    // If this fails, the other nodes detect the fault themselves.
    this.#openBreakers.add({ breaker, key, reason: 'open', addedBy: 'breaker', for: length }).catch(() => {})
  }

  /** Stops all timers and writes pending changes to the store if it is reachable. */
  async close(): Promise<void> {
    this.#tierCache?.close()
    for (const runtimeList of Object.values(this.#runtimeLists)) runtimeList.close()
    await this.#configSync?.close()
  }

  /** Returns the rules, in thousandths if tiers make costs fractional. */
  #countedRules(): readonly Rule[] {
    const rules = this.#hooks.rules()
    if (this.senderOverrides.tiers?.fractional !== true) return rules
    return rules.map(ruleInThousandths)
  }

  #merge(sharedEntries: readonly SharedEntry[], unsent: ReadonlySet<string>): void {
    const report = (err: unknown): void =>
      this.#hooks.logger.warn({ err }, 'something other nodes know could not be put into effect')
    let changed = false
    for (const kind of ENTRY_KINDS) {
      const theirs = new Map<string, RuntimeEntry>()
      for (const { kind: its, id, json } of sharedEntries) {
        if (its !== kind) continue
        try {
          theirs.set(id, JSON.parse(json) as RuntimeEntry)
        } catch (err) {
          report(err)
        }
      }
      const here = [...unsent].flatMap(name =>
        name.startsWith(`${kind} `) ? [name.slice(entryName(kind, '').length)] : [],
      )
      const merged = this.#runtimeLists[kind].merge(theirs, new Set(here), report)
      if (kind !== 'behaviour' && kind !== 'breaker') changed = merged || changed
    }
    if (changed) this.#hooks.invalidatePlans()
  }
}
