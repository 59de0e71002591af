import type { Rule } from '../chain/rules/create-limit-middleware.ts'
import { ruleInThousandths } from '../chain/senders/apply-overrides.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { Logger } from '../core/logger.ts'
import type { Message, Sender } from '../core/message.ts'
import { ThrottledLog } from '../core/throttled-log.ts'
import type { SharedEntry } from '../stores/shared-entries.ts'
import type { Store } from '../stores/store.ts'
import { behaviourEntryType, breakerEntryType, type OpenBreaker } from './automatic-entry-types.ts'
import {
  type BanOptions,
  banEntryType,
  exemptionEntryType,
  type OverrideOptions,
  overrideEntryType,
  type RuntimeExemption,
  type TierAssignmentOptions,
  tierEntryType,
} from './entry-types.ts'
import type { ChainOptions, GateChain } from './gate-chain.ts'
import type { GateEmitter } from './gate-emitter.ts'
import { NodeMembership } from './node-membership.ts'
import { PenaltyTracker } from './penalty-tracker.ts'
import { RUNTIME_ENTRY_KINDS, type RuntimeEntry, type RuntimeEntryKind } from './runtime-entry.ts'
import { buildEntryName, RuntimeEntrySync } from './runtime-entry-sync.ts'
import { RuntimeList, type RuntimeListHooks } from './runtime-list.ts'
import { TierCache } from './tier-cache.ts'

const UNSHARED = 'an abusive sender could not be shared with the other nodes: it is limited on this node only'

/** The parts of a gate that the runtime configuration uses. */
interface RuntimeConfigHost {
  readonly clock: Clock
  readonly logger: Logger
  readonly store: Store
}

/** Runtime entries that cover one sender. The first of each kind applies. */
export interface SenderEntries {
  readonly bans: readonly (BanOptions & RuntimeEntry)[]
  readonly overrides: readonly (OverrideOptions & RuntimeEntry)[]
  readonly tiers: readonly (TierAssignmentOptions & RuntimeEntry)[]
}

function present<T>(entries: readonly (T | undefined)[]): readonly T[] {
  return entries.filter(entry => entry !== undefined)
}

/** List of any kind of entry, as far as nodes synchronise it. */
type SyncedList = Pick<RuntimeList<object>, 'list' | 'merge' | 'close' | 'size'>

/** Runtime configuration of a gate: lists of bans, overrides, exemptions and tiers, and automatic penalties. */
export class RuntimeConfig {
  readonly bans: RuntimeList<BanOptions>
  readonly overrides: RuntimeList<OverrideOptions>
  readonly exemptions: RuntimeList<RuntimeExemption>
  readonly tiers: RuntimeList<TierAssignmentOptions>
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #store: Store
  readonly #chain: GateChain
  readonly #emitter: GateEmitter
  readonly #listByKind: Readonly<Record<RuntimeEntryKind, SyncedList>>
  readonly #penalties: PenaltyTracker
  readonly #entrySync: RuntimeEntrySync | undefined
  readonly #tierCache: TierCache | undefined
  readonly #openBreakers: RuntimeList<OpenBreaker>

  /** Edits the chain given to it. Throws PolicyError. */
  constructor(
    gate: RuntimeConfigHost,
    chain: GateChain,
    emitter: GateEmitter,
    tierOf: ChainOptions['tierOf'],
  ) {
    const { clock, logger, store } = gate
    const { senderSettings, handlerMonitor } = chain
    this.#clock = clock
    this.#logger = logger
    this.#store = store
    this.#chain = chain
    this.#emitter = emitter
    const hooks: RuntimeListHooks = {
      clock,
      changed: () => this.#invalidatePlans(),
      audit: change => {
        logger.info({ audit: change }, `${change.kind} ${change.action}`)
        emitter.emit('audit', change)
      },
      share: async (kind, id, entry) => this.#entrySync?.share(kind, id, entry),
      isShared: (kind, id) =>
        store.sharedEntries?.isVolatile !== true && (this.#entrySync?.isWritten(kind, id) ?? false),
    }
    this.bans = new RuntimeList(banEntryType(senderSettings), hooks)
    this.overrides = new RuntimeList(
      overrideEntryType(senderSettings, () => this.#countedRules()),
      hooks,
    )
    this.exemptions = new RuntimeList(
      exemptionEntryType(chain.runtimeExemptions, () => {
        chain.rebuild()
        emitter.emit('changed')
      }),
      hooks,
    )
    this.tiers = new RuntimeList(tierEntryType(senderSettings), hooks)
    // Sender states read behaviour levels and breakers themselves.
    const abusiveSenders = new RuntimeList(behaviourEntryType(senderSettings.behaviourTracker, clock), {
      ...hooks,
      changed: () => emitter.emit('changed'),
    })
    // Breakers open too often for the audit log.
    this.#openBreakers = new RuntimeList(breakerEntryType(handlerMonitor), {
      ...hooks,
      changed: () => {},
      audit: () => {},
    })
    this.#listByKind = {
      ban: this.bans,
      override: this.overrides,
      exemption: this.exemptions,
      tier: this.tiers,
      behaviour: abusiveSenders,
      breaker: this.#openBreakers,
    }
    const unshared = new ThrottledLog(clock, logger)
    senderSettings.behaviourTracker.onAbusive = (whom, reason, untilMs) => {
      const entry = { whom, reason, addedBy: 'behaviour', for: untilMs - clock.now() }
      abusiveSenders.add(entry).catch((err: unknown) => unshared.log({ err }, UNSHARED))
    }
    handlerMonitor.onOpened = (...opened) => this.#shareOpened(...opened)
    this.#penalties = new PenaltyTracker(this.bans, new ThrottledLog(clock, logger))
    senderSettings.connectCounter = this.#penalties
    if (tierOf !== undefined) {
      const lookup = typeof tierOf === 'function' ? { of: tierOf } : tierOf
      const tierCache = new TierCache(lookup, clock, logger, () => this.#invalidatePlans())
      this.#tierCache = tierCache
      senderSettings.lookUpTier = sender => tierCache.tierOf(sender)
    }
    this.#entrySync =
      store.sharedEntries &&
      new RuntimeEntrySync(store.sharedEntries, {
        clock,
        logger,
        listEntries: () =>
          RUNTIME_ENTRY_KINDS.flatMap(kind =>
            this.#listByKind[kind].list().map(entry => [kind, entry] as const),
          ),
        merge: (sharedEntries, unsent) => this.#merge(sharedEntries, unsent),
      })
  }

  /** Records a refusal for penalties. Never throws. */
  recordRefusal(decision: Decision, message: Message): void {
    const own = decision.rule === undefined ? undefined : this.#chain.registry.penaltyOf(decision.rule)
    const penalty = own ?? this.#chain.senderSettings.penalty
    if (penalty === undefined) return
    const name = own === undefined ? '' : decision.rule!
    const sender = this.#chain.identityOf(message)
    this.#penalties.recordRefusal(penalty, name, decision, message, sender, this.#clock.now())
  }

  /** Returns the bans, overrides and assigned tiers that cover a sender, each in the order in which they apply. */
  entriesOf(sender: Sender): SenderEntries {
    const { senderSettings } = this.#chain
    return {
      bans: present(senderSettings.bansOf(sender).map(({ id }) => this.bans.get(id))),
      overrides: present(senderSettings.overridesOf(sender).map(({ id }) => this.overrides.get(id))),
      tiers: present(senderSettings.tiersOf(sender).map(({ id }) => this.tiers.get(id))),
    }
  }

  /** Returns the number of entries in effect by kind. */
  countEntries(): Readonly<Record<RuntimeEntryKind, number>> {
    const { ban, override, exemption, tier, behaviour, breaker } = this.#listByKind
    return {
      ban: ban.size,
      override: override.size,
      exemption: exemption.size,
      tier: tier.size,
      behaviour: behaviour.size,
      breaker: breaker.size,
    }
  }

  /** Reads the entries of the other nodes and starts polling. Never rejects. */
  async syncEntries(): Promise<void> {
    await this.#entrySync?.poll()
  }

  /**
   * Joins the nodes of the store, under a name, that confirm changes of runtime entries to each other. A node replaces an
   * earlier one with the same `id`. Returns undefined if the store belongs to one process.
   */
  joinNodes(node: string, id?: string): NodeMembership | undefined {
    const { sharedEntries } = this.#store
    if (this.#entrySync === undefined || sharedEntries === undefined) return undefined
    const [clock, logger, sync] = [this.#clock, this.#logger, this.#entrySync]
    return new NodeMembership({ node, id, clock, logger, sharedEntries, sync })
  }

  /** Stops all timers and writes pending changes to the store if it is reachable. */
  async close(): Promise<void> {
    this.#tierCache?.close()
    for (const runtimeList of Object.values(this.#listByKind)) runtimeList.close()
    await this.#entrySync?.close()
  }

  /** Reports to all nodes that a breaker is open for a key until a time. */
  #shareOpened(breaker: string, key: string, untilMs: number): void {
    const forMs = Math.max(1, Math.round(untilMs - this.#clock.now()))
    // If this fails, the other nodes detect the fault themselves.
    this.#openBreakers.add({ breaker, key, reason: 'open', addedBy: 'breaker', for: forMs }).catch(() => {})
  }

  #invalidatePlans(): void {
    this.#chain.invalidatePlans()
    this.#emitter.emit('changed')
  }

  /** Returns the rules, in thousandths if tiers make costs fractional. */
  #countedRules(): readonly Rule[] {
    const rules = this.#chain.registry.limits
    if (this.#chain.senderSettings.tiers?.fractional !== true) return rules
    return rules.map(ruleInThousandths)
  }

  /** Returns the names of the entries that are invalid here. */
  #merge(sharedEntries: readonly SharedEntry[], unsent: ReadonlySet<string>): ReadonlySet<string> {
    const refused = new Set<string>()
    let changed = false
    for (const kind of RUNTIME_ENTRY_KINDS) {
      const report = (err: unknown, id: string): void => {
        refused.add(buildEntryName(kind, id))
        this.#logger.warn({ err }, 'a runtime entry of another node is invalid and was ignored')
      }
      const shared = new Map<string, RuntimeEntry>()
      for (const { kind: entryKind, id, json } of sharedEntries) {
        if (entryKind !== kind) continue
        try {
          shared.set(id, JSON.parse(json) as RuntimeEntry)
        } catch (err) {
          report(err, id)
        }
      }
      const unsentIds = [...unsent].flatMap(name =>
        name.startsWith(`${kind} `) ? [name.slice(buildEntryName(kind, '').length)] : [],
      )
      const merged = this.#listByKind[kind].merge(shared, new Set(unsentIds), report)
      if (kind !== 'behaviour' && kind !== 'breaker') changed = merged || changed
    }
    if (changed) this.#invalidatePlans()
    return refused
  }
}
