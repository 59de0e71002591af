import { type Decision, HARSHNESS, type Outcome } from '../../core/decision.ts'
import type { Message, Sender } from '../../core/message.ts'
import type { Override } from '../rules/rate-override.ts'
import type { Tier, Tiers } from '../rules/tiers.ts'
import { BehaviourTracker, type CompiledBehaviour } from './behaviour.ts'
import { SubjectIndex } from './sender-selector.ts'

/** Somebody who is not let in. */
export interface Ban {
  /** What it is called in the list of bans, and why it was said. */
  readonly id: string
  readonly reason: string
  readonly outcome: Outcome
  readonly expiresAtMs?: number | undefined
}

/** The time at which an operator added a runtime entry. */
export interface Added {
  readonly addedAtMs: number
  /** Its place among the entries that were added in the same millisecond; absent: 0. */
  readonly sequence?: number | undefined
}

/** Compares runtime entries by age, the oldest first. All nodes of a store come to the same order. */
export function compareAge(a: Added, b: Added): number {
  return a.addedAtMs - b.addedAtMs || (a.sequence ?? 0) - (b.sequence ?? 0)
}

/** A tier given to a sender at run time. */
export interface TierGiven extends Added {
  readonly tier: string
}

/** What a sender is to the gate, besides who it is: settled once for each sender and topic. */
export interface EffectiveOverrides {
  readonly ban?: Ban | undefined
  readonly tier?: Tier | undefined
  /** Of several for one rule the first counts. */
  readonly overrides: readonly Override[]
  /** Senders of equal keys are treated alike. */
  readonly key: string
}

const PLAIN: EffectiveOverrides = { overrides: [], key: '' }

/** The refusal of a connect that makes one too many of its sender. */
export interface ConnectCounter {
  take(sender: Sender, connect: Message, nowMs: number): Decision | undefined
  /** The same for a connect that was only claimed until now. */
  confirm(sender: Sender, connect: Message, nowMs: number): Decision | undefined
  /** Of one that came now; counts nothing. */
  peek(sender: Sender, nowMs: number): Decision | undefined
}

/**
 * Bans, overrides and tiers: all that changes what the chain does with a sender and is no part of the chain. Whoever
 * changes it must have the seats settled anew.
 */
export class SenderOverrides {
  readonly bans = new SubjectIndex<Ban>()
  readonly overrides = new SubjectIndex<Override>()
  readonly given = new SubjectIndex<TierGiven>()
  tiers: Tiers | undefined
  /** Counts connects, where they are counted. */
  countConnect: ConnectCounter | undefined
  /** Limits by behaviour, where the chain has any, and what is known of it. */
  compiledBehaviour: CompiledBehaviour | undefined
  readonly behaviourTracker: BehaviourTracker

  /** `blame` is told of each sender whose behaviour turns abusive. */
  constructor(blame: ConstructorParameters<typeof BehaviourTracker>[0] = () => {}) {
    this.behaviourTracker = new BehaviourTracker(blame)
  }

  /** The tier a function of the user's own has found for a sender. */
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

  /** The tier given last at run time, else the one looked up, else the sender's own, else the default. */
  #tierOf(sender: Sender, { byName, fallback }: Tiers): Tier | undefined {
    const [last] = this.given.of(sender).toSorted((a, b) => compareAge(b, a))
    const name = last?.tier ?? this.found?.(sender) ?? sender.tier
    return (typeof name === 'string' ? byName.get(name) : undefined) ?? fallback
  }
}

/** The youngest first: an operator's last word. */
function byYouth(a: Override, b: Override): number {
  return compareAge(b, a) || (a.id < b.id ? -1 : 1)
}

/** The ban that ends last first; of those that end together the harsher one. */
function bySeverity(a: Ban, b: Ban): number {
  const { expiresAtMs: endA = Infinity } = a
  const { expiresAtMs: endB = Infinity } = b
  if (endA !== endB) return endA > endB ? -1 : 1
  return HARSHNESS[b.outcome] - HARSHNESS[a.outcome] || (a.id < b.id ? -1 : 1)
}

/** The decision about somebody who is banned. */
export function banned(
  { outcome, expiresAtMs }: Pick<Ban, 'outcome' | 'expiresAtMs'>,
  nowMs: number,
): Decision {
  // The timer that ends a ban may be a little late.
  const retryAfterMs = expiresAtMs === undefined ? Infinity : Math.max(1, expiresAtMs - nowMs)
  return { allowed: false, outcome, reason: 'banned', retryAfterMs }
}
