import { type Decision, HARSHNESS, type Outcome } from '../../core/decision.ts'
import type { Message, Sender } from '../../core/message.ts'
import type { CompiledPenalty } from '../rules/compile-penalty.ts'
import type { Override } from '../rules/rate-override.ts'
import { compareAge, type EntryAge } from '../rules/runtime-entry-order.ts'
import type { Tier, Tiers } from '../rules/tiers.ts'
import { BehaviourTracker, type CompiledBehaviourFactors } from './behaviour-tracker.ts'
import { SenderIndex } from './sender-selector.ts'

/** A ban of a sender. */
export interface Ban {
  /** Id in the list of bans, and the reason. */
  readonly id: string
  readonly reason: string
  readonly outcome: Outcome
  readonly expiresAtMs?: number | undefined
}

/** A tier assigned to a sender at run time. */
export interface AssignedTier extends EntryAge {
  /** Id in the list of tiers. */
  readonly id: string
  readonly tier: string
}

/** Ban, tier and overrides of a sender. Resolved once for each sender and topic. */
export interface EffectiveSettings {
  readonly ban?: Ban | undefined
  readonly tier?: Tier | undefined
  /** Pending lookup of the tier. Until it resolves, `tier` is the sender's own or the default. */
  readonly tierLookup?: Promise<void> | undefined
  /** The first override of a rule applies. */
  readonly overrides: readonly Override[]
  /** Senders with equal keys share plans. */
  readonly key: string
}

const PLAIN: EffectiveSettings = { overrides: [], key: '' }

/** Counts connects and returns a refusal if a sender connects too often. */
export interface ConnectCounter {
  countConnect(
    penalty: CompiledPenalty,
    sender: Sender,
    connect: Message,
    nowMs: number,
  ): Decision | undefined
  /** Counts a connect that was only claimed until now. */
  confirmConnect(
    penalty: CompiledPenalty,
    sender: Sender,
    connect: Message,
    nowMs: number,
  ): Decision | undefined
  /** Returns the refusal that a connect would get now. Counts nothing. */
  peekConnect(penalty: CompiledPenalty, sender: Sender, nowMs: number): Decision | undefined
}

/**
 * Runtime settings of senders that are not part of the chain: bans, overrides, tiers and behaviour. After a
 * change, all senders must resolve their plans again.
 */
export class SenderRuntimeSettings {
  readonly bans = new SenderIndex<Ban>()
  readonly overrides = new SenderIndex<Override>()
  readonly assignedTiers = new SenderIndex<AssignedTier>()
  readonly behaviourTracker = new BehaviourTracker()
  tiers: Tiers | undefined
  /** Limits by behaviour, if there are any. */
  compiledBehaviour: CompiledBehaviourFactors | undefined
  /** Penalty of all rules without one of their own. Limits connects if it has `flapping`. */
  penalty: CompiledPenalty | undefined
  /** Counts the connects that `penalty` limits. */
  connectCounter: ConnectCounter | undefined
  /** Returns the tier found by the user's lookup function, or the pending lookup. */
  lookUpTier: ((sender: Sender) => string | undefined | Promise<void>) | undefined

  /** Returns the bans of a sender, the one that applies first. */
  bansOf(sender: Sender): readonly Ban[] {
    return this.bans.entriesOf(sender).toSorted(longestBanFirst)
  }

  /** Returns the overrides of a sender, the one that applies first. */
  overridesOf(sender: Sender): readonly Override[] {
    return this.overrides.entriesOf(sender).toSorted(newestFirst)
  }

  /** Returns the tiers assigned to a sender, the one that applies first. */
  tiersOf(sender: Sender): readonly AssignedTier[] {
    return this.assignedTiers.entriesOf(sender).toSorted((a, b) => compareAge(b, a))
  }

  settingsOf(sender: Sender): EffectiveSettings {
    const { bans, overrides, tiers } = this
    if (bans.isEmpty && overrides.isEmpty && tiers === undefined) return PLAIN
    const [ban] = this.bansOf(sender)
    const applied = this.overridesOf(sender)
    const foundTier = tiers && this.#findTier(sender)
    const tierLookup = foundTier instanceof Promise ? foundTier : undefined
    const tierName = foundTier instanceof Promise ? sender.tier : (foundTier ?? sender.tier)
    const tier = tiers && ((typeof tierName === 'string' && tiers.byName.get(tierName)) || tiers.fallback)
    const isPlain = tier === undefined && tiers?.fractional !== true && applied.length === 0
    const key = isPlain ? '' : `${tier?.name ?? ''}\n${applied.map(({ serial }) => serial).join('\n')}`
    return { ban, tier, tierLookup, overrides: applied, key }
  }

  /** Returns the tier assigned last at run time, else the one looked up. */
  #findTier(sender: Sender): string | undefined | Promise<void> {
    const [last] = this.tiersOf(sender)
    return last?.tier ?? this.lookUpTier?.(sender)
  }
}

/** Compares overrides, newest first: the operator's latest entry applies. */
function newestFirst(a: Override, b: Override): number {
  return compareAge(b, a) || (a.id < b.id ? -1 : 1)
}

/** Compares bans: the one that ends last first, among equals the harsher one. */
function longestBanFirst(a: Ban, b: Ban): number {
  const { expiresAtMs: endA = Infinity } = a
  const { expiresAtMs: endB = Infinity } = b
  if (endA !== endB) return endA > endB ? -1 : 1
  return HARSHNESS[b.outcome] - HARSHNESS[a.outcome] || (a.id < b.id ? -1 : 1)
}

/** Returns the decision on messages of a banned sender. */
export function banDecision(
  { outcome, expiresAtMs }: Pick<Ban, 'outcome' | 'expiresAtMs'>,
  nowMs: number,
): Decision {
  // The timer that ends a ban may be slightly late.
  const retryAfterMs = expiresAtMs === undefined ? Infinity : Math.max(1, expiresAtMs - nowMs)
  return { allowed: false, outcome, reason: 'banned', retryAfterMs }
}
