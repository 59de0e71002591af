import type { RefusedDecision } from '../../analytics/analytics.ts'
import { analyticsName, shortenName } from '../../analytics/shorten-name.ts'
import type { SenderPart } from '../../chain/senders/sender-selector.ts'
import type { Decision } from '../../core/decision.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Message, Operation, Sender } from '../../core/message.ts'
import { TwoGenerationCache } from '../../core/two-generation-cache.ts'

/** Refusals of a sender by the same rule, on the same topic, within a second of the first. */
export interface Refusal {
  readonly topic: string
  readonly on: Operation
  readonly rule: string | undefined
  readonly reason: Decision['reason']
  readonly outcome: Decision['outcome']
  readonly limit: number | undefined
  readonly remaining: number | undefined
  retryAfterMs: number
  /** Time of the first and of the last. */
  readonly atMs: number
  lastAtMs: number
  count: number
}

/** The last refusals of a sender. */
export interface RefusalHistory {
  readonly sender: Sender
  /** Oldest first. */
  readonly refusals: Refusal[]
}

/** A refusal that begins a new record, for listeners. */
export interface RefusalEvent {
  readonly sender: Sender
  readonly refusal: Refusal
  /** Refusals since the last event of this sender, rule and topic, this one included. */
  readonly count: number
}

/** Equal refusals within this time are one record. */
const FOLD_MS = 1_000
/** Latest records of a sender that a refusal is compared with: a flooder may alternate topics. */
const COMPARED = 4

/** Remembers the last refusals of the senders refused last, in bounded memory. */
export class RecentRefusals {
  readonly #histories = new TwoGenerationCache<RefusalHistory>({
    maxEntries: MAX_SIZES.refusedSenders,
    maxKeyChars: MAX_SIZES.keyPartChars,
    maxTotalChars: MAX_SIZES.refusedSenders * MAX_SIZES.keyPartChars,
  })
  /** Sender of the last refusal: a flooder's messages come together. */
  #lastSender: Sender | undefined
  #lastHistory: RefusalHistory | undefined
  readonly #onRecord: (event: RefusalEvent) => void

  /** `onRecord` is called with each refusal that begins a new record. */
  constructor(onRecord: (event: RefusalEvent) => void = () => {}) {
    this.#onRecord = onRecord
  }

  /** Records a refusal, or `count` equal ones. The message or its topic may be of any size. */
  record(
    decision: RefusedDecision,
    message: Pick<Message, 'topic' | 'on'>,
    sender: Sender,
    nowMs: number,
    count = 1,
  ): void {
    const history = this.#historyOf(sender)
    const { refusals } = history
    const topic = shortenTopic(message.topic)
    let earlier: Refusal | undefined
    for (let at = refusals.length - 1; at >= 0 && at >= refusals.length - COMPARED; at--) {
      const each = refusals[at]!
      if (each.rule !== decision.rule || each.reason !== decision.reason || each.topic !== topic) continue
      earlier = each
      break
    }
    if (earlier !== undefined && nowMs - earlier.atMs < FOLD_MS) {
      earlier.count += count
      earlier.lastAtMs = nowMs
      earlier.retryAfterMs = decision.retryAfterMs
      return
    }
    const refusal: Refusal = {
      topic,
      on: message.on,
      rule: decision.rule,
      reason: decision.reason,
      outcome: decision.outcome,
      limit: decision.limit,
      remaining: decision.remaining,
      retryAfterMs: decision.retryAfterMs,
      atMs: nowMs,
      lastAtMs: nowMs,
      count,
    }
    refusals.push(refusal)
    if (refusals.length > MAX_SIZES.refusalsPerSender) refusals.shift()
    this.#onRecord({ sender: history.sender, refusal, count: earlier?.count ?? count })
  }

  #historyOf(sender: Sender): RefusalHistory {
    if (sender === this.#lastSender && this.#lastHistory !== undefined) return this.#lastHistory
    const name = shortenName(analyticsName(sender))
    let history = this.#histories.get(name)
    if (history === undefined) {
      history = { sender: describeSender(sender), refusals: [] }
      this.#histories.set(name, history)
    }
    this.#lastSender = sender
    this.#lastHistory = history
    return history
  }

  /** Number of senders with remembered refusals. */
  get size(): number {
    return this.#histories.size
  }

  /** Returns the histories of all remembered senders. */
  histories(): Iterable<RefusalHistory> {
    return this.#histories.values()
  }

  /** Returns the history of a sender that has this value in this part; the latest if there are several. */
  find(part: SenderPart, value: string): RefusalHistory | undefined {
    const name = shortenName(value)
    const named = this.#histories.get(name)
    if (named?.sender[part] === name) return named
    let found: RefusalHistory | undefined
    for (const history of this.#histories.values()) {
      if (history.sender[part] !== name) continue
      if (found === undefined || lastAtMs(history) > lastAtMs(found)) found = history
    }
    return found
  }

  /** Returns the sender counted under a name in analytics, if it was refused lately. */
  senderNamed(name: string): Sender | undefined {
    return this.#histories.get(name)?.sender
  }
}

function lastAtMs({ refusals }: RefusalHistory): number {
  return refusals.at(-1)?.lastAtMs ?? 0
}

/** Copies what identifies a sender, without its API key; long names are shortened. */
function describeSender({ client, device, user, ip, roles, tier }: Sender): Sender {
  const short = (name: string | undefined): string | undefined =>
    name === undefined ? name : shortenName(name)
  return { client: short(client), device: short(device), user: short(user), ip: short(ip), roles, tier }
}

function shortenTopic(topic: string): string {
  return topic.length <= MAX_SIZES.refusedTopicChars ? topic : topic.slice(0, MAX_SIZES.refusedTopicChars)
}
