import type { Clock } from '../../core/clock.ts'
import type { Decision, Outcome } from '../../core/decision.ts'
import type { Message } from '../../core/message.ts'
import type { InFlightBound } from './in-flight.ts'

/** What became of a message in the handler it was given to. */
export interface Handled {
  /** How long the handler took, in milliseconds. */
  readonly durationMs: number
  /** Whether it succeeded. */
  readonly ok: boolean
}

/** What a middleware tells the gate that goes by what handlers do: a rate by feedback, a circuit breaker. */
export interface HandlerMeta {
  readonly kind: 'handler'
  /** Its refusals go by it, as those of a rule by the rule's name. */
  readonly name: string
  readonly enabled: true
  readonly priority: 0
  readonly rule?: undefined
  /** What becomes of the messages it refuses. */
  readonly outcome: Outcome
  /** To be told of each message that a handler is done with. */
  observe(message: Message, handled: Handled): void
  /** The refusal it would give a message now; undefined where it would let it pass. Changes nothing. */
  refusal(message: Message): Decision | undefined
  /** What it would do with a message now, in words; changes nothing. */
  describe(message: Message): string
  /** Goes by a gate's clock from now on, where it was given none of its own. */
  attach(host: HandlerHost): void
  /** Goes on with what another has found at the same gate, where it would find the same; false where not. */
  inherit(other: HandlerMeta): boolean
  /** Of a limit of handlers at work. */
  readonly bound?: InFlightBound | undefined
  /** Another node of the store has found it open for a key until a moment. */
  heard?(key: string, untilMs: number): void
}

/** What such a middleware needs of its gate. */
export interface HandlerHost {
  readonly clock: Clock
  /** Tells all nodes of the store that it is open for a key until a moment. */
  opened?(key: string, untilMs: number): void
}
