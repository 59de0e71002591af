import { EventEmitter } from 'node:events'
import type { Logger } from '../logger.ts'
import type { GateEvents } from './events.ts'

/** Tells of what happens at a gate. A listener that throws harms no message: it is logged. */
export class Voice {
  /** Whether anyone listens to decisions; asking the emitter costs more than the answer is worth. */
  heard = false
  readonly #emitter = new EventEmitter<GateEvents>()
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  on<Name extends keyof GateEvents>(event: Name, listener: (...args: GateEvents[Name]) => void): void {
    ;(this.#emitter as EventEmitter).on(event, listener)
    this.#listen()
  }

  off<Name extends keyof GateEvents>(event: Name, listener: (...args: GateEvents[Name]) => void): void {
    ;(this.#emitter as EventEmitter).off(event, listener)
    this.#listen()
  }

  emit<Name extends keyof GateEvents>(event: Name, ...args: GateEvents[Name]): void {
    try {
      ;(this.#emitter as EventEmitter).emit(event, ...args)
    } catch (err) {
      this.#logger.error({ err, event }, 'a listener threw')
    }
  }

  #listen(): void {
    this.heard = this.#emitter.listenerCount('decision') > 0
  }
}
