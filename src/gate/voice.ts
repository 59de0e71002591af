import type { Decision } from '../decision.ts'
import type { Logger } from '../logger.ts'
import type { Message } from '../message.ts'
import type { GateEvents } from './events.ts'

type Listener<Name extends keyof GateEvents> = (...args: GateEvents[Name]) => void

/**
 * Tells of what happens at a gate, each listener in the order in which it came. One that throws harms no message and no
 * other listener: it is logged.
 */
export class Voice {
  /** Whether anyone listens to decisions. */
  heard = false
  readonly #listeners = new Map<keyof GateEvents, readonly Listener<keyof GateEvents>[]>()
  /** Those of decisions: a list of their own, and a call without a list of arguments, cost a third of an emitter's. */
  #ofDecisions: readonly Listener<'decision'>[] = []
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  on<Name extends keyof GateEvents>(event: Name, listener: Listener<Name>): void {
    this.#put(event, [...this.#of(event), listener])
  }

  /** Takes back what was added last, of a listener that was added more than once. */
  off<Name extends keyof GateEvents>(event: Name, listener: Listener<Name>): void {
    const last = this.#of(event).lastIndexOf(listener)
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

  /** Tells of a decision. */
  tell(decision: Decision, message: Message): void {
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
    this.heard = this.#ofDecisions.length > 0
  }

  #complain(event: keyof GateEvents, err: unknown): void {
    this.#logger.error({ err, event }, 'a listener threw')
  }
}
