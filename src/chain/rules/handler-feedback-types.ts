import type { Clock } from '../../core/clock.ts'
import type { Decision, Outcome } from '../../core/decision.ts'
import type { Message } from '../../core/message.ts'
import type { InFlightLimit } from './in-flight-slots.ts'
import type { StateKeptAcrossReload } from './reload-state.ts'

/** Result of a message handler. */
export interface HandlerResult {
  /** Duration in milliseconds. */
  readonly durationMs: number
  /** True if the handler succeeded. */
  readonly ok: boolean
}

/** Metadata of middleware that uses handler results: a rate by feedback, a circuit breaker. */
export interface HandlerFeedbackMeta {
  readonly kind: 'handler'
  /** Name in its refusals, like the name of a rule. */
  readonly name: string
  readonly enabled: true
  readonly priority: 0
  readonly rule?: undefined
  /** Outcome of the messages that it refuses. */
  readonly outcome: Outcome
  /** Records a handler result. */
  observe(message: Message, handled: HandlerResult): void
  /** Returns the refusal that a message would get now; undefined if it would pass. Changes nothing. */
  refusal(message: Message): Decision | undefined
  /** Returns a description of how a message would be treated now. Changes nothing. */
  describe(message: Message): string
  /** Attaches it to a gate and uses the gate's clock, unless it has its own. */
  attach(host: HandlerMiddlewareHost): void
  readonly state: StateKeptAcrossReload<unknown>
  /** Returns the current rate per second, if it controls one. */
  perSecond?(): number
  /** Returns the number of keys whose circuit is not closed, if it is a circuit breaker. */
  openKeys?(): number
  /** Limit of concurrent handlers, if it is one. */
  readonly limit?: InFlightLimit | undefined
  /** Applies an open breaker found by another node. */
  applyOpened?(key: string, untilMs: number): void
}

/** The parts of a gate that handler middleware uses. */
export interface HandlerMiddlewareHost {
  readonly clock: Clock
  /** Reports to all nodes of the store that it is open for a key until a time. */
  opened?(key: string, untilMs: number): void
}
