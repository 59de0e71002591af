import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { RuleLookup } from '../outcomes/rule-info.ts'

export interface RetrySlotOptions {
  /** Most messages that have a slot; beyond them the gate's own time is told. Default: 65,536. */
  readonly max?: number | undefined
  /** How long after its slot a message may come back before its slot is given up. Default: 30,000. */
  readonly lateMs?: number | undefined
}

/** The slots of one key of a rule. */
interface SlotLine {
  readonly rule: string
  readonly key: string
  /** The last slot given, not rounded. */
  lastMs: number
  outstanding: number
  refusal: Decision
}

interface Slot {
  readonly keyQueue: SlotLine
  readonly atMs: number
}

/**
 * For messages that are sent back and come again, as JetStream's: `retry` is answered with a slot of the message's
 * own, spaced at its rule's rate, instead of the same time for all. While slots are out, newcomers of the same key
 * get the slots behind them and the gate is not asked, so that whoever comes back in time passes.
 */
export class RetrySlots {
  readonly #book: RuleLookup
  readonly #ask: (message: Message) => MaybePromise<Decision>
  readonly #clock: Clock
  readonly #max: number
  readonly #lateMs: number
  readonly #slots = new Map<string, Slot>()
  /** Lines with slots out, by rule, then by key. */
  readonly #keyQueues = new Map<string, Map<string, SlotLine>>()

  constructor(
    book: RuleLookup,
    ask: (message: Message) => MaybePromise<Decision>,
    clock: Clock,
    options: RetrySlotOptions = {},
  ) {
    this.#book = book
    this.#ask = ask
    this.#clock = clock
    this.#max = options.max ?? MAX_SIZES.retrySlots
    this.#lateMs = options.lateMs ?? 30_000
  }

  /** Messages that have a slot. */
  get size(): number {
    return this.#slots.size
  }

  /** Decides about a message that has an id of its own and keeps it when it is delivered again. */
  ask(message: Message, id: string): MaybePromise<Decision> {
    const nowMs = this.#clock.now()
    this.#forgetLate(nowMs)
    const slot = this.#slots.get(id)
    if (slot !== undefined) {
      // Sooner than it was told: its slot stays its own.
      if (nowMs < slot.atMs) return { ...slot.keyQueue.refusal, retryAfterMs: slot.atMs - nowMs }
      this.#release(id, slot)
    } else {
      const keyQueue = this.#lineOf(message)
      if (keyQueue !== undefined) return this.#reserve(message, id, keyQueue.refusal)
    }
    const answer = this.#ask(message)
    if (!isPromise(answer)) return this.#settle(message, id, answer)
    return answer.then(decision => this.#settle(message, id, decision))
  }

  /** Forgets all slots: what comes back is asked about anew, and newcomers need not stand behind it. */
  clear(): void {
    this.#slots.clear()
    this.#keyQueues.clear()
  }

  /** The message will not come again: its slot is free. */
  forget(id: string): void {
    const slot = this.#slots.get(id)
    if (slot !== undefined) this.#release(id, slot)
  }

  #settle(message: Message, id: string, decision: Decision): Decision {
    const waits = decision.outcome === 'retry' && decision.retryAfterMs < Infinity
    // What waits for a handler to recover comes back at one time, and is looked at then.
    if (decision.reason === 'handler_failing') return decision
    return waits && decision.rule !== undefined ? this.#reserve(message, id, decision) : decision
  }

  #reserve(message: Message, id: string, refusal: Decision): Decision {
    if (this.#slots.size >= this.#max || this.#slots.has(id)) return refusal
    const nowMs = this.#clock.now()
    const keyQueue = this.#lineFor(message, refusal)
    const facts = this.#book.ruleOf?.(keyQueue.rule)
    const units = facts?.unit === 'bytes' ? message.size : 1
    const spacingMs = facts === undefined ? refusal.retryAfterMs : (facts.periodMs * units) / facts.count
    const earliestMs = keyQueue.outstanding === 0 ? nowMs + refusal.retryAfterMs : keyQueue.lastMs + spacingMs
    keyQueue.lastMs = Math.max(nowMs + 1, earliestMs)
    keyQueue.outstanding++
    const atMs = Math.ceil(keyQueue.lastMs)
    this.#slots.set(id, { keyQueue, atMs })
    return { ...refusal, retryAfterMs: atMs - nowMs }
  }

  /** The line with slots out that a message stands in. */
  #lineOf(message: Message): SlotLine | undefined {
    for (const [rule, keyQueues] of this.#keyQueues) {
      const key = this.#keyOf(rule, message)
      const keyQueue = key === undefined ? undefined : keyQueues.get(key)
      if (keyQueue !== undefined) return keyQueue
    }
    return undefined
  }

  #lineFor(message: Message, refusal: Decision): SlotLine {
    const rule = refusal.rule ?? ''
    const key = this.#keyOf(rule, message) ?? ''
    const keyQueues = this.#keyQueues.get(rule) ?? new Map<string, SlotLine>()
    this.#keyQueues.set(rule, keyQueues)
    const keyQueue = keyQueues.get(key) ?? { rule, key, lastMs: 0, outstanding: 0, refusal }
    keyQueues.set(key, keyQueue)
    return keyQueue
  }

  #release(id: string, { keyQueue }: Slot): void {
    this.#slots.delete(id)
    keyQueue.outstanding--
    if (keyQueue.outstanding > 0) return
    const keyQueues = this.#keyQueues.get(keyQueue.rule)
    if (keyQueues?.get(keyQueue.key) === keyQueue) keyQueues.delete(keyQueue.key)
    if (keyQueues?.size === 0) this.#keyQueues.delete(keyQueue.rule)
  }

  /** From the oldest on, until one is in time: a few for each question, all of them in the end. */
  #forgetLate(nowMs: number): void {
    for (const [id, slot] of this.#slots) {
      if (nowMs <= slot.atMs + this.#lateMs) return
      this.#release(id, slot)
    }
  }

  #keyOf(rule: string, message: Message): string | undefined {
    try {
      return this.#book.keyOf?.(rule, message)
    } catch {
      return undefined
    }
  }
}
