import { BOUNDS } from '../bounds.ts'
import { blockLengthMs, type Penalty } from '../chain/penalty.ts'
import { partOf } from '../chain/subject.ts'
import type { Decision } from '../decision.ts'
import type { Sender } from '../message.ts'
import type { Board } from './board.ts'
import type { BanOptions } from './crafts.ts'
import type { SampledLog } from './sampled-log.ts'

/** Whom nobody told off is called so in lists and logs. */
const ADDED_BY = 'penalties'

interface Offender {
  /** When it was refused, the oldest first. */
  times: number[]
  /** Blocks in a row. */
  blocks: number
  /** The end of the last one, and how long it was. */
  untilMs: number
  lengthMs: number
}

/**
 * Counts refusals of each sender and bans those that go on. A block that is over is forgiven after as long again, one step of
 * growth at a time. Bounded: of too many offenders, those quiet for longest are forgotten.
 */
export class Penalties {
  readonly #bans: Board<BanOptions>
  readonly #failures: SampledLog
  readonly #offenders = new Map<string, Offender>()

  /** `failures` is told of each sender that could not be blocked. */
  constructor(bans: Board<BanOptions>, failures: SampledLog) {
    this.#bans = bans
    this.#failures = failures
  }

  /** Takes a refusal to account. `name` tells apart what rules count for themselves. Never throws. */
  note(penalty: Penalty, name: string, decision: Decision, sender: Sender, nowMs: number): void {
    if (!isOffence(decision)) return
    const part = partOf(sender, penalty.per)
    const text = part && sender[part]
    if (part === undefined || text === undefined) return
    const key = `${name}\n${part}:${text.length > BOUNDS.keyPartChars ? text.slice(0, BOUNDS.keyPartChars) : text}`
    const offender = this.#take(key)
    offender.times.push(nowMs)
    while (offender.times[0]! <= nowMs - penalty.withinMs) offender.times.shift()
    if (offender.times.length < penalty.refusals) return
    offender.times = []
    forgive(offender, nowMs)
    offender.blocks++
    offender.lengthMs = blockLengthMs(penalty, offender.blocks)
    offender.untilMs = nowMs + offender.lengthMs
    // A full list of bans: the sender stays limited, and is no more than that.
    if (this.#bans.isFull) return
    const reason = `refused ${penalty.refusals} times${name === '' ? '' : ` by ${name}`}`.slice(
      0,
      BOUNDS.noteChars,
    )
    const ban = { [part]: text, reason, code: 'penalty', addedBy: ADDED_BY, for: offender.lengthMs }
    this.#bans.add(ban).catch((err: unknown) => this.#failures.note({ err, part }))
  }

  /** Taken out and put in last: the order of the map is that of their last offence. */
  #take(key: string): Offender {
    const offender = this.#offenders.get(key) ?? { times: [], blocks: 0, untilMs: 0, lengthMs: 0 }
    this.#offenders.delete(key)
    if (this.#offenders.size >= BOUNDS.offenders) this.#offenders.delete(this.#offenders.keys().next().value!)
    this.#offenders.set(key, offender)
    return offender
  }
}

/** What is only slowed down or sent elsewhere is asked again by itself, and is nobody's offence. */
function isOffence({ allowed, outcome, reason }: Decision): boolean {
  if (allowed || (reason !== 'rate_limit_exceeded' && reason !== 'quota_exceeded')) return false
  return outcome === 'drop' || outcome === 'reject' || outcome === 'retry' || outcome === 'disconnect'
}

/** A step for each span as long as the last block that has passed since it ended. */
function forgive(offender: Offender, nowMs: number): void {
  if (offender.lengthMs === 0 || nowMs <= offender.untilMs) return
  const steps = Math.floor((nowMs - offender.untilMs) / offender.lengthMs)
  offender.blocks = Math.max(0, offender.blocks - steps)
}
