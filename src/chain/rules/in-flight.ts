import type { Decision } from '../../core/decision.ts'
import type { Message, Sender } from '../../core/message.ts'
import { captureLevels, type Pattern } from '../../topic/pattern.ts'
import type { KeyMaker } from './key-scope.ts'

/** When a message that is not to wait may ask again: nobody knows how long handlers take. */
const ASK_AGAIN_MS = 1_000

/** What becomes of a message that finds all handlers at work. */
export type InFlightOutcome = 'throttle' | 'retry' | 'drop' | 'reject'

/** Handlers at work for one key, and those that wait for one of them to end, in their order. */
export interface KeyInFlight {
  count: number
  readonly waiting: ((turn: KeyInFlight) => void)[]
  /** Waiting ones are being called: handlers that end at once end within it. */
  isWaking: boolean
}

/** A limit of handlers at work, per key. */
export class InFlightBound {
  readonly name: string
  readonly refusal: Decision
  readonly #keys: KeyMaker
  /** Shared with the rule as it was before a change, whose handlers are still at work. */
  #shared: { most: number; readonly inFlight: Map<string, KeyInFlight> }
  /** Another goes on with what it counts. */
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

  /** Whether one more handler may begin. Those that wait go first; `turn` is that of the first of them. */
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

  /** Calls `again` when its turn has come; the returned function ends the wait. */
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

  /** Goes on with the handlers at work, and those that wait, of the rule as it was before. */
  inherit(other: InFlightBound): void {
    other.#shared.most = this.most
    this.#shared = other.#shared
    other.isInherited = true
  }

  /** Has those that wait ask again: the limit has changed, or is no more. */
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
    // Bounded by the handlers at work and what consumers hold.
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
