import type { Decision } from '../decision.ts'
import type { Action, Sender } from '../message.ts'
import type { ExemptStep } from './steps.ts'

/**
 * What a sender on one topic amounts to under the current policy: settled at its first message there, so that the
 * later ones look up no string. Void when the epoch of the gate has moved on.
 */
export interface Binding<Plan> {
  readonly epoch: number
  readonly topic: string
  readonly on: Action
  readonly plan: Plan
  /** The sender after the policy's `senders`. */
  readonly sender: Sender
  /** Exempt whatever the message holds. */
  readonly exempt: Decision | undefined
  /** Exemptions that cover the sender but must be asked about each message. */
  readonly conditional: readonly ExemptStep[]
  /** Slot and generation, two numbers a rule; only with a local store. */
  readonly slots: number[]
  /** Keys by rule, made when first needed; only with other stores. */
  readonly keys: (string | undefined)[]
}
