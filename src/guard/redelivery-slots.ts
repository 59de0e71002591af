import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { RuleInfoSource } from '../outcomes/rule-info.ts'

export interface RedeliverySlotOptions {
  /** Most messages that have a slot. Beyond it the gate's own time is used. Default: 65,536. */
  readonly max?: number | undefined
  /** Time after its slot in which a message may still come back before the slot is released. Default: 30,000. */
  readonly lateMs?: number | undefined
}

/** Slots of one key of a rule. */
interface KeySlots {
  readonly rule: string
  readonly key: string
  /** Time of the last slot, not rounded. */
  lastMs: number
  outstanding: number
  refusal: Decision
}

interface Slot {
  readonly keySlots: KeySlots
  readonly atMs: number
}

/**
 * Slots for messages that are sent back and delivered again, as in JetStream. Answers `retry` with a slot for each
 * message, spaced at the rule's rate, instead of the same time for all. While slots are outstanding, new messages of
 * the key get later slots without asking the gate, so that a message that returns in time passes.
 */
export class RedeliverySlotScheduler {
  readonly #ruleLookup: RuleInfoSource
  readonly #ask: (message: Message) => MaybePromise<Decision>
  readonly #clock: Clock
  readonly #max: number
  readonly #lateMs: number
  readonly #slots = new Map<string, Slot>()
  /** Keys with outstanding slots, by rule, then by key. */
  readonly #slotsByRule = new Map<string, Map<string, KeySlots>>()

  constructor(
    ruleLookup: RuleInfoSource,
    ask: (message: Message) => MaybePromise<Decision>,
    clock: Clock,
    options: RedeliverySlotOptions = {},
  ) {
    this.#ruleLookup = ruleLookup
    this.#ask = ask
    this.#clock = clock
    this.#max = options.max ?? MAX_SIZES.redeliverySlots
    this.#lateMs = options.lateMs ?? 30_000
  }

  /** Number of messages that have a slot. */
  get size(): number {
    return this.#slots.size
  }

  /** Decides about a message with an id of its own, which it keeps when it is delivered again. */
  ask(message: Message, id: string): MaybePromise<Decision> {
    const nowMs = this.#clock.now()
    this.#releaseExpired(nowMs)
    const slot = this.#slots.get(id)
    if (slot !== undefined) {
      // Earlier than its slot: it keeps the slot.
      if (nowMs < slot.atMs) return { ...slot.keySlots.refusal, retryAfterMs: slot.atMs - nowMs }
      this.#release(id, slot)
    } else {
      const keySlots = this.#findKeySlots(message)
      if (keySlots !== undefined) return this.#reserve(message, id, keySlots.refusal)
    }
    const answer = this.#ask(message)
    if (!isPromise(answer)) return this.#assignSlot(message, id, answer)
    return answer.then(decision => this.#assignSlot(message, id, decision))
  }

  /** Releases all slots. Returning messages are decided anew, and new messages do not wait behind them. */
  clear(): void {
    this.#slots.clear()
    this.#slotsByRule.clear()
  }

  /** Releases the slot of a message that will not come again. */
  forget(id: string): void {
    const slot = this.#slots.get(id)
    if (slot !== undefined) this.#release(id, slot)
  }

  #assignSlot(message: Message, id: string, decision: Decision): Decision {
    const waits = decision.outcome === 'retry' && decision.retryAfterMs < Infinity
    // Messages that wait for a handler to recover all return at one time and are decided then.
    if (decision.reason === 'handler_failing') return decision
    return waits && decision.rule !== undefined ? this.#reserve(message, id, decision) : decision
  }

  #reserve(message: Message, id: string, refusal: Decision): Decision {
    if (this.#slots.size >= this.#max || this.#slots.has(id)) return refusal
    const nowMs = this.#clock.now()
    const keySlots = this.#getKeySlots(message, refusal)
    const ruleInfo = this.#ruleLookup.ruleOf?.(keySlots.rule)
    const units = ruleInfo?.unit === 'bytes' ? message.size : 1
    const spacingMs =
      ruleInfo === undefined ? refusal.retryAfterMs : (ruleInfo.periodMs * units) / ruleInfo.count
    const earliestMs = keySlots.outstanding === 0 ? nowMs + refusal.retryAfterMs : keySlots.lastMs + spacingMs
    keySlots.lastMs = Math.max(nowMs + 1, earliestMs)
    keySlots.outstanding++
    const atMs = Math.ceil(keySlots.lastMs)
    this.#slots.set(id, { keySlots, atMs })
    return { ...refusal, retryAfterMs: atMs - nowMs }
  }

  /** Returns the outstanding slots of the message's key, if there are any. */
  #findKeySlots(message: Message): KeySlots | undefined {
    for (const [rule, slotsByKey] of this.#slotsByRule) {
      const key = this.#keyOf(rule, message)
      const keySlots = key === undefined ? undefined : slotsByKey.get(key)
      if (keySlots !== undefined) return keySlots
    }
    return undefined
  }

  #getKeySlots(message: Message, refusal: Decision): KeySlots {
    const rule = refusal.rule ?? ''
    const key = this.#keyOf(rule, message) ?? ''
    const slotsByKey = this.#slotsByRule.get(rule) ?? new Map<string, KeySlots>()
    this.#slotsByRule.set(rule, slotsByKey)
    const keySlots = slotsByKey.get(key) ?? { rule, key, lastMs: 0, outstanding: 0, refusal }
    slotsByKey.set(key, keySlots)
    return keySlots
  }

  #release(id: string, { keySlots }: Slot): void {
    this.#slots.delete(id)
    keySlots.outstanding--
    if (keySlots.outstanding > 0) return
    const slotsByKey = this.#slotsByRule.get(keySlots.rule)
    if (slotsByKey?.get(keySlots.key) === keySlots) slotsByKey.delete(keySlots.key)
    if (slotsByKey?.size === 0) this.#slotsByRule.delete(keySlots.rule)
  }

  /** Releases expired slots, oldest first, until one is in time. */
  #releaseExpired(nowMs: number): void {
    for (const [id, slot] of this.#slots) {
      if (nowMs <= slot.atMs + this.#lateMs) return
      this.#release(id, slot)
    }
  }

  #keyOf(rule: string, message: Message): string | undefined {
    try {
      return this.#ruleLookup.keyOf?.(rule, message)
    } catch {
      return undefined
    }
  }
}
