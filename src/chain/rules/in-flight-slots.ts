import type { Decision } from '../../core/decision.ts'
import type { Message, Sender } from '../../core/message.ts'
import { captureLevels, type Pattern } from '../../topic/pattern.ts'
import type { KeyMaker } from './key-scope.ts'
import { StateKeptAcrossReload } from './reload-state.ts'

/** Retry delay of a message that does not wait. Fixed, because handler durations are unknown. */
const ASK_AGAIN_MS = 1_000

/** Outcome of a message if no handler slot is free. */
export type InFlightOutcome = 'throttle' | 'retry' | 'drop' | 'reject'

/** Running handlers of one key, and the queue of those that wait for a slot. */
export interface KeyInFlight {
  count: number
  readonly waiting: ((keyInFlight: KeyInFlight) => void)[]
  /** True while waiting handlers are called. Why: handlers that end at once would otherwise recurse. */
  isWaking: boolean
}

/** Running handlers of a limit. The limit after a reload continues with them. */
export interface InFlightCounts {
  /** Maximum number of concurrent handlers per key, by the rule now in force. */
  max: number
  readonly byKey: Map<string, KeyInFlight>
}

/** A limit of concurrent handlers, per key. */
export class InFlightLimit {
  readonly name: string
  readonly refusal: Decision
  readonly state: StateKeptAcrossReload<InFlightCounts>
  readonly #max: number
  readonly #keys: KeyMaker

  /** `stateKey` identifies the limit, so that the limit after a reload continues with its running handlers. */
  constructor(name: string, max: number, keys: KeyMaker, outcome: InFlightOutcome, stateKey: string) {
    this.name = name
    this.state = new StateKeptAcrossReload(stateKey, { max, byKey: new Map<string, KeyInFlight>() })
    this.#max = max
    this.#keys = keys
    this.refusal = Object.freeze({
      allowed: false,
      outcome,
      reason: 'handler_busy',
      rule: name,
      limit: max,
      remaining: 0,
      retryAfterMs: ASK_AGAIN_MS,
    })
  }

  keyOf(message: Message, sender: Sender, pattern: Pattern | undefined): string {
    const captures = pattern === undefined ? new Map<string, string>() : captureLevels(pattern, message.topic)
    return this.#keys.keyOf({ message, sender, pattern: pattern?.text ?? '', captures })
  }

  /** Returns true if one more handler may begin. Waiting ones go first; `keyInFlight` identifies the first of them. */
  hasRoom(key: string, keyInFlight?: KeyInFlight): boolean {
    const known = this.state.value.byKey.get(key)
    return (
      known === undefined || (known.count < this.max && (known.waiting.length === 0 || known === keyInFlight))
    )
  }

  begin(key: string): void {
    this.#getOrCreate(key).count++
  }

  end(key: string): void {
    const known = this.state.value.byKey.get(key)
    if (known === undefined) return
    known.count--
    this.#wake(key, known)
  }

  /** Calls `onSlotFree` when a slot is free. The returned function cancels the wait. */
  wait(key: string, onSlotFree: (keyInFlight: KeyInFlight) => void): () => void {
    const known = this.#getOrCreate(key)
    known.waiting.push(onSlotFree)
    return () => {
      const at = known.waiting.indexOf(onSlotFree)
      if (at >= 0) known.waiting.splice(at, 1)
      this.#wake(key, known)
    }
  }

  get max(): number {
    return this.state.value.max
  }

  /** Puts the limit in force. Handlers that wait check again, because its number may have changed. */
  apply(): void {
    this.#setMax(this.#max)
  }

  /** Lifts the limit after its rule was removed, so that all waiting handlers begin. */
  lift(): void {
    this.#setMax(Infinity)
  }

  #setMax(max: number): void {
    this.state.value.max = max
    for (const [key, known] of [...this.state.value.byKey]) this.#wake(key, known)
  }

  count(key: string): number {
    return this.state.value.byKey.get(key)?.count ?? 0
  }

  #getOrCreate(key: string): KeyInFlight {
    const known = this.state.value.byKey.get(key)
    if (known !== undefined) return known
    // Bounded by the number of running handlers and held messages.
    const made: KeyInFlight = { count: 0, waiting: [], isWaking: false }
    this.state.value.byKey.set(key, made)
    return made
  }

  #wake(key: string, known: KeyInFlight): void {
    if (known.isWaking) return
    known.isWaking = true
    while (known.count < this.max && known.waiting.length > 0) known.waiting.shift()!(known)
    known.isWaking = false
    if (known.count === 0 && known.waiting.length === 0) this.state.value.byKey.delete(key)
  }
}
