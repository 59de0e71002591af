import { type Decision, HARSHNESS, type Outcome } from '../../core/decision.ts'
import type { Message, Sender } from '../../core/message.ts'
import { type Added, compareAge } from '../rules/entry-age.ts'
import type { Override } from '../rules/rate-override.ts'
import type { Tier, Tiers } from '../rules/tiers.ts'
import { BehaviourTracker, type CompiledBehaviour } from './behaviour.ts'
import { SubjectIndex } from './sender-selector.ts'

/** A ban of a sender. */
export interface Ban {
  /** Id in the list of bans, and the reason. */
  readonly id: string
  readonly reason: string
  readonly outcome: Outcome
  readonly expiresAtMs?: number | undefined
}

/** A tier assigned to a sender at run time. */
export interface TierGiven extends Added {
  readonly tier: string
}

/** Ban, tier and overrides of a sender. Resolved once for each sender and topic. */
export interface EffectiveOverrides {
  readonly ban?: Ban | undefined
  readonly tier?: Tier | undefined
  /** The first override of a rule applies. */
  readonly overrides: readonly Override[]
  /** Senders with equal keys share plans. */
  readonly key: string
}

const PLAIN: EffectiveOverrides = { overrides: [], key: '' }

/** Counts connects and returns a refusal if a sender connects too often. */
export interface ConnectCounter {
  take(sender: Sender, connect: Message, nowMs: number): Decision | undefined
  /** Counts a connect that was only claimed until now. */
  confirm(sender: Sender, connect: Message, nowMs: number): Decision | undefined
  /** Returns the refusal that a connect would get now. Counts nothing. */
  peek(sender: Sender, nowMs: number): Decision | undefined
}

/**
 * Runtime settings of senders that are not part of the chain: bans, overrides, tiers and behaviour. After a
 * change, all senders must resolve their plans again.
 */
export class SenderOverrides {
  readonly bans = new SubjectIndex<Ban>()
  readonly overrides = new SubjectIndex<Override>()
  readonly given = new SubjectIndex<TierGiven>()
  tiers: Tiers | undefined
  /** Connect counter, if connects are limited. */
  countConnect: ConnectCounter | undefined
  /** Limits by behaviour, if there are any. */
  compiledBehaviour: CompiledBehaviour | undefined
  readonly behaviourTracker: BehaviourTracker

  /** `blame` is called for each sender that turns abusive. */
  constructor(blame: ConstructorParameters<typeof BehaviourTracker>[0] = () => {}) {
    this.behaviourTracker = new BehaviourTracker(blame)
  }

  /** Returns the tier found by the user's lookup function. */
  found: ((sender: Sender) => string | undefined) | undefined

  of(sender: Sender): EffectiveOverrides {
    const { bans, overrides, tiers } = this
    if (bans.isEmpty && overrides.isEmpty && tiers === undefined) return PLAIN
    const [ban] = bans.of(sender).toSorted(bySeverity)
    const granted = overrides.of(sender).toSorted(byYouth)
    const tier = tiers && this.#tierOf(sender, tiers)
    const isPlain = tier === undefined && tiers?.fractional !== true && granted.length === 0
    const key = isPlain ? '' : `${tier?.name ?? ''}\n${granted.map(({ serial }) => serial).join('\n')}`
    return {
      overrides: granted,
      key,
      ...(ban === undefined ? {} : { ban }),
      ...(tier === undefined ? {} : { tier }),
    }
  }

  /** Returns the tier assigned last at run time, else the one looked up, else the sender's own, else the default. */
  #tierOf(sender: Sender, { byName, fallback }: Tiers): Tier | undefined {
    const [last] = this.given.of(sender).toSorted((a, b) => compareAge(b, a))
    const name = last?.tier ?? this.found?.(sender) ?? sender.tier
    return (typeof name === 'string' ? byName.get(name) : undefined) ?? fallback
  }
}

/** Compares overrides, newest first: the operator's latest entry applies. */
function byYouth(a: Override, b: Override): number {
  return compareAge(b, a) || (a.id < b.id ? -1 : 1)
}

/** Compares bans: the one that ends last first, among equals the harsher one. */
function bySeverity(a: Ban, b: Ban): number {
  const { expiresAtMs: endA = Infinity } = a
  const { expiresAtMs: endB = Infinity } = b
  if (endA !== endB) return endA > endB ? -1 : 1
  return HARSHNESS[b.outcome] - HARSHNESS[a.outcome] || (a.id < b.id ? -1 : 1)
}

/** Returns the decision on messages of a banned sender. */
export function banned(
  { outcome, expiresAtMs }: Pick<Ban, 'outcome' | 'expiresAtMs'>,
  nowMs: number,
): Decision {
  // The timer that ends a ban may be slightly late.
  const retryAfterMs = expiresAtMs === undefined ? Infinity : Math.max(1, expiresAtMs - nowMs)
  return { allowed: false, outcome, reason: 'banned', retryAfterMs }
}
