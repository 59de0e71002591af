import type { Decision } from '../../core/decision.ts'
import type { Message, Sender } from '../../core/message.ts'
import { captureLevels, type Pattern } from '../../topic/pattern.ts'
import type { KeyMaker } from './key-scope.ts'

/** Retry delay of a message that does not wait. Fixed, because handler durations are unknown. */
const ASK_AGAIN_MS = 1_000

/** Outcome of a message if no handler slot is free. */
export type InFlightOutcome = 'throttle' | 'retry' | 'drop' | 'reject'

/** Running handlers of one key, and the queue of those that wait for a slot. */
export interface KeyInFlight {
  count: number
  readonly waiting: ((turn: KeyInFlight) => void)[]
  /** True while waiting handlers are called. Why: handlers that end at once would otherwise recurse. */
  isWaking: boolean
}

/** A limit of concurrent handlers, per key. */
export class InFlightBound {
  readonly name: string
  readonly refusal: Decision
  readonly #keys: KeyMaker
  /** Shared with the rule before a reload, whose handlers are still running. */
  #shared: { most: number; readonly inFlight: Map<string, KeyInFlight> }
  /** True if another limit has taken over the counts. */
  isInherited = false

  constructor(name: string, most: number, keys: KeyMaker, outcome: InFlightOutcome) {
    this.name = name
    this.#shared = { most, inFlight: new Map() }
    this.#keys = keys
    this.refusal = Object.freeze({
      ...{ allowed: false, outcome, reason: 'handler_busy', rule: name, limit: most, remaining: 0 },
      retryAfterMs: ASK_AGAIN_MS,
    } as const)
  }

  keyOf(message: Message, sender: Sender, pattern: Pattern | undefined): string {
    const captures = pattern === undefined ? new Map<string, string>() : captureLevels(pattern, message.topic)
    return this.#keys.keyOf({ message, sender, pattern: pattern?.text ?? '', captures })
  }

  /** Returns true if one more handler may begin. Waiting ones go first; `turn` identifies the first of them. */
  hasRoom(key: string, turn?: KeyInFlight): boolean {
    const known = this.#shared.inFlight.get(key)
    return known === undefined || (known.count < this.most && (known.waiting.length === 0 || known === turn))
  }

  begin(key: string): void {
    this.#knownOr(key).count++
  }

  end(key: string): void {
    const known = this.#shared.inFlight.get(key)
    if (known === undefined) return
    known.count--
    this.#wake(key, known)
  }

  /** Calls `again` when a slot is free. The returned function cancels the wait. */
  wait(key: string, again: (turn: KeyInFlight) => void): () => void {
    const known = this.#knownOr(key)
    known.waiting.push(again)
    return () => {
      const at = known.waiting.indexOf(again)
      if (at >= 0) known.waiting.splice(at, 1)
      this.#wake(key, known)
    }
  }

  get most(): number {
    return this.#shared.most
  }

  /** Takes over the running and waiting handlers of the rule before a reload. */
  inherit(other: InFlightBound): void {
    other.#shared.most = this.most
    this.#shared = other.#shared
    other.isInherited = true
  }

  /** Makes waiting handlers check again after the limit has changed or was removed. */
  wakeAll(isGone: boolean): void {
    if (isGone) this.#shared.most = Infinity
    for (const [key, known] of [...this.#shared.inFlight]) this.#wake(key, known)
  }

  count(key: string): number {
    return this.#shared.inFlight.get(key)?.count ?? 0
  }

  #knownOr(key: string): KeyInFlight {
    const known = this.#shared.inFlight.get(key)
    if (known !== undefined) return known
    // Bounded by the number of running handlers and held messages.
    const made: KeyInFlight = { count: 0, waiting: [], isWaking: false }
    this.#shared.inFlight.set(key, made)
    return made
  }

  #wake(key: string, known: KeyInFlight): void {
    if (known.isWaking) return
    known.isWaking = true
    while (known.count < this.most && known.waiting.length > 0) known.waiting.shift()!(known)
    known.isWaking = false
    if (known.count === 0 && known.waiting.length === 0) this.#shared.inFlight.delete(key)
  }
}
