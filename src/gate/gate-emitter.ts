import type { SenderState } from '../chain/senders/sender-state.ts'
import type { Decision } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Message } from '../core/message.ts'
import { nearest } from '../core/option-names.ts'
import type { GateEvents } from './gate-events.ts'

/** Counts every decision. Called before all listeners, with the state of the message's sender. */
export interface DecisionCounter {
  count(decision: Decision, message: Message, senderState: SenderState): void
}

const EVENTS: Readonly<Record<keyof GateEvents, true>> = {
  decision: true,
  warning: true,
  store: true,
  policy: true,
  changed: true,
  scaled: true,
  audit: true,
}

function checkEvent(event: string, listener: unknown): void {
  const known = Object.keys(EVENTS)
  if (!known.includes(event)) {
    const near = nearest(String(event), known)
    const remedy = near === undefined ? `use one of ${known.join(', ')}` : `did you mean \`${near}\`?`
    throw policyError('event', `a gate has no event \`${String(event).slice(0, 60)}\``, remedy)
  }
  if (typeof listener !== 'function')
    throw policyError(event, 'the listener is not a function', 'give a function')
}

type Listener<Name extends keyof GateEvents> = (...args: GateEvents[Name]) => void

/**
 * Event emitter of a gate. Calls listeners in the order in which they were added. Logs an error thrown by a
 * listener and continues.
 */
export class GateEmitter {
  /** True if there is a listener or counter for decisions. */
  hasDecisionListeners = false
  readonly #listeners = new Map<keyof GateEvents, readonly Listener<keyof GateEvents>[]>()
  /** Listeners of decisions. Why: a separate list and a fixed argument list cost a third of a generic emit. */
  #decisionListeners: readonly Listener<'decision'>[] = []
  /** Kept apart from the listeners. Why: V8 inlines a call site that has a single target, which halves its cost. */
  #counters: readonly DecisionCounter[] = []
  /** Original listener of each `once` wrapper. */
  readonly #originals = new WeakMap<object, unknown>()
  readonly #logger: Logger
  readonly #onFlagsChanged: () => void

  /** `changed` is called after listeners of decisions were added or removed. */
  constructor(logger: Logger, changed: () => void) {
    this.#logger = logger
    this.#onFlagsChanged = changed
  }

  /** Adds a listener. Throws PolicyError for an unknown event. */
  on<Name extends keyof GateEvents>(event: Name, listener: Listener<Name>): void {
    checkEvent(event, listener)
    this.#setListeners(event, [...this.#listenersOf(event), listener])
  }

  once<Name extends keyof GateEvents>(event: Name, listener: Listener<Name>): void {
    checkEvent(event, listener)
    const wrapped: Listener<Name> = (...args) => {
      this.off(event, listener)
      listener(...args)
    }
    this.#originals.set(wrapped as object, listener)
    this.#setListeners(event, [...this.#listenersOf(event), wrapped])
  }

  /** Removes the most recently added entry of a listener. */
  off<Name extends keyof GateEvents>(event: Name, listener: Listener<Name>): void {
    const last = this.#listenersOf(event).findLastIndex(
      each => each === listener || this.#originals.get(each as object) === listener,
    )
    if (last !== -1) this.#setListeners(event, this.#listenersOf(event).toSpliced(last, 1))
  }

  emit<Name extends keyof GateEvents>(event: Name, ...args: GateEvents[Name]): void {
    for (const listener of this.#listenersOf(event)) {
      try {
        listener(...args)
      } catch (err) {
        this.#logError(event, err)
      }
    }
  }

  /** Adds a counter. Returns a function that removes it. */
  countBy(counter: DecisionCounter): () => void {
    this.#counters = [...this.#counters, counter]
    this.#updateFlag()
    return () => {
      this.#counters = this.#counters.filter(each => each !== counter)
      this.#updateFlag()
    }
  }

  /** Emits a decision to counters and listeners. */
  emitDecision(decision: Decision, message: Message, senderState: SenderState): void {
    const counters = this.#counters
    for (let index = 0; index < counters.length; index++) {
      try {
        counters[index]!.count(decision, message, senderState)
      } catch (err) {
        this.#logError('decision', err)
      }
    }
    const listeners = this.#decisionListeners
    for (let index = 0; index < listeners.length; index++) {
      try {
        listeners[index]!(decision, message)
      } catch (err) {
        this.#logError('decision', err)
      }
    }
  }

  #listenersOf<Name extends keyof GateEvents>(event: Name): readonly Listener<Name>[] {
    return (this.#listeners.get(event) ?? []) as readonly Listener<Name>[]
  }

  #setListeners<Name extends keyof GateEvents>(event: Name, listeners: readonly Listener<Name>[]): void {
    this.#listeners.set(event, listeners as readonly Listener<keyof GateEvents>[])
    this.#decisionListeners = this.#listenersOf('decision')
    this.#updateFlag()
  }

  #updateFlag(): void {
    this.hasDecisionListeners = this.#decisionListeners.length > 0 || this.#counters.length > 0
    this.#onFlagsChanged()
  }

  #logError(event: keyof GateEvents, err: unknown): void {
    this.#logger.error({ err, event }, 'a listener threw')
  }
}
