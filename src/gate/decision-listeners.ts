import type { SenderState } from '../chain/senders/sender-state.ts'
import type { Decision } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Message } from '../core/message.ts'
import { nearest } from '../core/option-names.ts'
import type { GateEvents } from './gate-events.ts'

/** Counts every decision: told before all listeners, with the seat of who sent the message. */
export interface Counter {
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
    throw policyError(event, 'its listener is no function', 'give a function')
}

type Listener<Name extends keyof GateEvents> = (...args: GateEvents[Name]) => void

/**
 * Tells of what happens at a gate, each listener in the order in which it came. One that throws harms no message and no
 * other listener: it is logged.
 */
export class GateEmitter {
  /** Whether anyone listens to decisions. */
  hasDecisionListeners = false
  readonly #listeners = new Map<keyof GateEvents, readonly Listener<keyof GateEvents>[]>()
  /** Those of decisions: a list of their own, and a call without a list of arguments, cost a third of an emitter's. */
  #ofDecisions: readonly Listener<'decision'>[] = []
  /** Apart from the listeners: V8 makes one piece of a call that always meets the same code, which halves what it costs. */
  #counters: readonly Counter[] = []
  /** Listeners of one event, by what calls them. */
  readonly #wrapped = new WeakMap<object, unknown>()
  readonly #logger: Logger
  readonly #changed: () => void

  /** `changed` is called when someone listens, or does no longer. */
  constructor(logger: Logger, changed: () => void) {
    this.#logger = logger
    this.#changed = changed
  }

  /** Throws PolicyError for an event that does not exist. */
  on<Name extends keyof GateEvents>(event: Name, listener: Listener<Name>): void {
    checkEvent(event, listener)
    this.#put(event, [...this.#of(event), listener])
  }

  once<Name extends keyof GateEvents>(event: Name, listener: Listener<Name>): void {
    checkEvent(event, listener)
    const wrapped: Listener<Name> = (...args) => {
      this.off(event, listener)
      listener(...args)
    }
    this.#wrapped.set(wrapped as object, listener)
    this.#put(event, [...this.#of(event), wrapped])
  }

  /** Takes back what was added last, of a listener that was added more than once. */
  off<Name extends keyof GateEvents>(event: Name, listener: Listener<Name>): void {
    const last = this.#of(event).findLastIndex(
      each => each === listener || this.#wrapped.get(each as object) === listener,
    )
    if (last !== -1) this.#put(event, this.#of(event).toSpliced(last, 1))
  }

  emit<Name extends keyof GateEvents>(event: Name, ...args: GateEvents[Name]): void {
    for (const listener of this.#of(event)) {
      try {
        listener(...args)
      } catch (err) {
        this.#complain(event, err)
      }
    }
  }

  /** Returns how to end it. */
  countBy(counter: Counter): () => void {
    this.#counters = [...this.#counters, counter]
    this.#listen()
    return () => {
      this.#counters = this.#counters.filter(each => each !== counter)
      this.#listen()
    }
  }

  /** Tells of a decision. */
  tell(decision: Decision, message: Message, senderState: SenderState): void {
    const counters = this.#counters
    for (let index = 0; index < counters.length; index++) {
      try {
        counters[index]!.count(decision, message, senderState)
      } catch (err) {
        this.#complain('decision', err)
      }
    }
    const listeners = this.#ofDecisions
    for (let index = 0; index < listeners.length; index++) {
      try {
        listeners[index]!(decision, message)
      } catch (err) {
        this.#complain('decision', err)
      }
    }
  }

  #of<Name extends keyof GateEvents>(event: Name): readonly Listener<Name>[] {
    return (this.#listeners.get(event) ?? []) as readonly Listener<Name>[]
  }

  #put<Name extends keyof GateEvents>(event: Name, listeners: readonly Listener<Name>[]): void {
    this.#listeners.set(event, listeners as readonly Listener<keyof GateEvents>[])
    this.#ofDecisions = this.#of('decision')
    this.#listen()
  }

  #listen(): void {
    this.hasDecisionListeners = this.#ofDecisions.length > 0 || this.#counters.length > 0
    this.#changed()
  }

  #complain(event: keyof GateEvents, err: unknown): void {
    this.#logger.error({ err, event }, 'a listener threw')
  }
}
