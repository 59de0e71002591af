import type { Decision, Reason } from '../core/decision.ts'
import type { MaybePromise, Message, Operation, Sender } from '../core/message.ts'
import type { ExceededPlan } from './exceeded.ts'

/** Kind of a sender: with an API key, a device or client id, a user, or no identity. */
export type SenderKind = 'user' | 'device' | 'api' | 'anonymous'

/**
 * Text for a refused sender: one text, one text for each kind of sender (the others get the default), or a function.
 * Placeholders: {rule} {limit} {unit} {window} {remaining} {reset} {retry} {reason} {client}.
 */
export type RefusalWords =
  | string
  | Readonly<Partial<Record<SenderKind, string>>>
  | ((decision: Decision, sender: Sender) => string)

/** Description of a rule, for code that enacts or reports its decisions. */
export interface RuleInfo {
  readonly name: string
  readonly description?: string | undefined
  readonly on: Operation
  /** Pattern of the rule's first use, as written. Undefined if the rule covers all topics. */
  readonly pattern?: string | undefined
  /** Units per period. */
  readonly count: number
  readonly periodMs: number
  /** Most units at once: a token bucket's burst, else the count. */
  readonly capacity: number
  /** Bytes of a maximum-size rule, also in `count` and `capacity`. Such a rule counts nothing, and its period is 0. */
  readonly maxBytes?: number | undefined
  readonly unit: 'messages' | 'bytes'
  readonly per: readonly string[]
  readonly algorithm: string
  /** True if the rule covers only some messages or senders. */
  readonly isSelective: boolean
  /** True if the rule is in shadow: it counts what it would refuse, and refuses nothing. */
  readonly isShadow: boolean
  /** Share of the senders for which the rule is in shadow, 0 to 1. */
  readonly shadowShare: number
  /** Reason of its refusals. */
  readonly reason: Reason
  readonly exceeded: ExceededPlan
  /** Refusal text of the rule. */
  readonly message?: RefusalWords | undefined
  /** Returns the captures of the rule's pattern in a topic. */
  capturesOf(topic: string): ReadonlyMap<string, string>
}

/** Part of a gate that a guard uses beyond decisions. Without a method the guard uses its default. */
export interface RuleInfoSource {
  ruleOf?(name: string): RuleInfo | undefined
  /**
   * Returns the key that a rule charges for a message, or undefined if the rule does not cover it or an exemption
   * applies. Charges nothing.
   */
  keyOf?(rule: string, message: Message): string | undefined
  /** Makes `unchanged` rules forget the last payload of a message's topic. */
  forgetPayload?(message: Message): void
  peek?(message: Message): MaybePromise<readonly Decision[]>
  /** Adds a listener for changes after which decisions may differ. */
  on?(event: 'changed', listener: () => void): unknown
  off?(event: 'changed', listener: () => void): unknown
}
