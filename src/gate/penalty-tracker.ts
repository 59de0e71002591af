import { blockDurationMs, type CompiledPenalty } from '../chain/rules/compile-penalty.ts'
import { banDecision, type ConnectCounter } from '../chain/senders/sender-runtime-settings.ts'
import {
  identifyingSenderPart,
  type SenderPart,
  type SenderSelector,
} from '../chain/senders/sender-selector.ts'
import type { Decision } from '../core/decision.ts'
import { hashLongPart } from '../core/hash-long-part.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message, Sender } from '../core/message.ts'
import type { ThrottledLog } from '../core/throttled-log.ts'
import type { BanOptions } from './entry-types.ts'
import type { RuntimeList } from './runtime-list.ts'

/** Author of automatic bans in lists and logs. */
const ADDED_BY = 'penalties'

interface Offender {
  /** Times of its refusals, oldest first. */
  times: number[]
  /** Number of consecutive blocks. */
  blocks: number
  /** End and length of the last block. */
  untilMs: number
  lengthMs: number
}

/**
 * Counts refusals and connects of each sender and bans repeat offenders. After a block, each further span of
 * the same length reduces the next block by one step. Bounded: beyond the maximum, the least recent offender
 * is forgotten.
 */
export class PenaltyTracker implements ConnectCounter {
  readonly #bans: RuntimeList<BanOptions>
  readonly #failures: ThrottledLog
  /** Connects that are counted already. Why: a waiting connect is checked again. */
  readonly #countedConnects = new WeakSet<Message>()
  readonly #confirmedConnects = new WeakSet<Message>()
  readonly #offenders = new Map<string, Offender>()

  /** `failures` logs each sender that could not be blocked. */
  constructor(bans: RuntimeList<BanOptions>, failures: ThrottledLog) {
    this.#bans = bans
    this.#failures = failures
  }

  /** Counts a refusal. `name` keeps the counts of a rule's own penalty apart. Never throws. */
  recordRefusal(
    penalty: CompiledPenalty,
    name: string,
    decision: Decision,
    message: Message,
    sender: Sender,
    nowMs: number,
  ): void {
    if (penalty.refusals === Infinity || !isOffence(decision)) return
    // A message sent to a client is no offence of that client.
    if (message.on === 'deliver') return
    const part = identifyingSenderPart(sender, message.claimed ? 'ip' : penalty.per)
    const text = part && sender[part]
    if (part === undefined || text === undefined) return
    const offender = this.#addTime(
      hashLongPart(`${name}\n${part}:${text}`),
      penalty.refusals,
      penalty.withinMs,
      nowMs,
    )
    if (offender === undefined) return
    const reason = `refused ${penalty.refusals} times${name === '' ? '' : ` by ${name}`}`
    this.#block(penalty, offender, { [part]: text }, reason, nowMs)
  }

  /**
   * Counts a connect and returns the refusal if its sender connects too often. A repeated check of the same
   * connect counts once. A claimed connect counts against its address only, and against the other parts when
   * it is confirmed. Never throws.
   */
  countConnect(
    penalty: CompiledPenalty,
    sender: Sender,
    connect: Message,
    nowMs: number,
  ): Decision | undefined {
    if (this.#countedConnects.has(connect)) return undefined
    this.#countedConnects.add(connect)
    return this.#countConnect(penalty, sender, nowMs, part => connect.claimed !== true || part === 'ip')
  }

  /** Counts a connect once its sender is authenticated. Never throws. */
  confirmConnect(
    penalty: CompiledPenalty,
    sender: Sender,
    connect: Message,
    nowMs: number,
  ): Decision | undefined {
    if (connect.claimed !== true || this.#confirmedConnects.has(connect)) return undefined
    this.#confirmedConnects.add(connect)
    return this.#countConnect(penalty, sender, nowMs, part => part !== 'ip')
  }

  #countConnect(
    penalty: CompiledPenalty,
    sender: Sender,
    nowMs: number,
    counts: (part: SenderPart) => boolean,
  ): Decision | undefined {
    let refusal: Decision | undefined
    for (const { connects, withinMs, per } of penalty.flapping) {
      const part = identifyingSenderPart(sender, per)
      const text = part && sender[part]
      if (part === undefined || text === undefined || !counts(part)) continue
      const offender = this.#addTime(flappingKey(part, text), connects, withinMs, nowMs)
      if (offender === undefined || !this.#block(penalty, offender, { [part]: text }, 'flapping', nowMs))
        continue
      refusal = banDecision({ outcome: 'reject', expiresAtMs: offender.untilMs }, nowMs)
    }
    return refusal
  }

  /** Returns the refusal that a connect would get now. Counts nothing and never throws. */
  peekConnect(penalty: CompiledPenalty, sender: Sender, nowMs: number): Decision | undefined {
    for (const { connects, withinMs, per } of penalty.flapping) {
      const part = identifyingSenderPart(sender, per)
      const known = part && this.#offenders.get(flappingKey(part, sender[part]!))
      const recent = known?.times.filter(time => time > nowMs - withinMs) ?? []
      if (known === undefined || recent.length + 1 < connects || this.#bans.isFull) continue
      const offender = { ...known }
      reduceBlocks(offender, nowMs)
      const expiresAtMs = nowMs + blockDurationMs(penalty, offender.blocks + 1)
      return banDecision({ outcome: 'reject', expiresAtMs }, nowMs)
    }
    return undefined
  }

  /** Adds one time. If that reaches the maximum, resets the count and returns the offender. */
  #addTime(key: string, max: number, withinMs: number, nowMs: number): Offender | undefined {
    const offender = this.#moveToEnd(key)
    offender.times.push(nowMs)
    while (offender.times[0]! <= nowMs - withinMs) offender.times.shift()
    if (offender.times.length < max) return undefined
    offender.times = []
    return offender
  }

  /** Blocks an offender; repeated blocks last longer. Returns false if the list of bans is full. */
  #block(
    penalty: CompiledPenalty,
    offender: Offender,
    subject: SenderSelector,
    reason: string,
    nowMs: number,
  ): boolean {
    reduceBlocks(offender, nowMs)
    offender.blocks++
    offender.lengthMs = blockDurationMs(penalty, offender.blocks)
    offender.untilMs = nowMs + offender.lengthMs
    // If the list of bans is full, the sender stays limited but is not banned.
    if (this.#bans.isFull) return false
    const shortReason = reason.slice(0, MAX_SIZES.reasonChars)
    const ban = {
      ...subject,
      reason: shortReason,
      code: 'penalty',
      addedBy: ADDED_BY,
      for: offender.lengthMs,
    }
    this.#bans.add(ban).catch((err: unknown) => this.#failures.log({ err }, 'a sender could not be blocked'))
    return true
  }

  /** Returns an offender and moves it to the end, so that the map is ordered by last offence. */
  #moveToEnd(key: string): Offender {
    const offender = this.#offenders.get(key) ?? { times: [], blocks: 0, untilMs: 0, lengthMs: 0 }
    this.#offenders.delete(key)
    if (this.#offenders.size >= MAX_SIZES.offenders)
      this.#offenders.delete(this.#offenders.keys().next().value!)
    this.#offenders.set(key, offender)
    return offender
  }
}

function flappingKey(part: string, text: string): string {
  return hashLongPart(`\nflapping\n${part}:${text}`)
}

const OFFENCES: ReadonlySet<string> = new Set(['rate_limit_exceeded', 'quota_exceeded', 'too_large'])

/** Returns false for delayed or redirected messages: brokers check them again without the client's doing. */
function isOffence({ allowed, outcome, reason }: Decision): boolean {
  if (allowed || !OFFENCES.has(reason)) return false
  return outcome === 'drop' || outcome === 'reject' || outcome === 'retry' || outcome === 'disconnect'
}

/** Reduces the number of blocks by one for each span as long as the last block since it ended. */
function reduceBlocks(offender: Offender, nowMs: number): void {
  if (offender.lengthMs === 0 || nowMs <= offender.untilMs) return
  const steps = Math.floor((nowMs - offender.untilMs) / offender.lengthMs)
  offender.blocks = Math.max(0, offender.blocks - steps)
}
