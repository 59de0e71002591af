import type { Decision } from '../core/decision.ts'
import type { Action, MaybePromise, Message, Sender } from '../core/message.ts'
import type { ExceededPlan } from './exceeded.ts'

/** Who is told, by what the sender is known as: an api key, a device, a user, a client id (a device), or nothing. */
export type SenderKind = 'user' | 'device' | 'api' | 'anonymous'

/**
 * What a refused sender is told: a text that may hold places, one for each kind of sender (those left out get the
 * default), or a function. Places: {rule} {limit} {unit} {window} {remaining} {reset} {retry} {reason} {client}.
 */
export type RefusalWords =
  | string
  | Readonly<Partial<Record<SenderKind, string>>>
  | ((decision: Decision, sender: Sender) => string)

/** What a rule is, for those who enact its decisions and tell of them. */
export interface RuleInfo {
  readonly name: string
  readonly description?: string | undefined
  readonly on: Action
  /** The pattern it was first used for, as written; absent where it stands for every topic. */
  readonly pattern?: string | undefined
  /** Units per period. */
  readonly count: number
  readonly periodMs: number
  /** The most it can hold: a token bucket's burst, else the count. */
  readonly capacity: number
  /** Of a maximum size, which counts nothing: its bytes, as `count` and `capacity`; its period is 0. */
  readonly maxBytes?: number | undefined
  readonly unit: 'messages' | 'bytes'
  readonly per: readonly string[]
  readonly algorithm: string
  /** True for a rule that is for some messages or senders only. */
  readonly isSelective: boolean
  readonly exceeded: ExceededPlan
  /** The rule's own words for a refusal. */
  readonly message?: RefusalWords | undefined
  /** What the captures of the rule's topic hold of a topic. */
  capturesOf(topic: string): ReadonlyMap<string, string>
}

/** What a guard asks of a gate besides decisions. All of it is optional: without it outcomes go by their defaults. */
export interface RuleLookup {
  ruleOf?(name: string): RuleInfo | undefined
  /**
   * The key a message would be charged under by a rule; undefined where the rule does not meet it or an exemption
   * holds. Charges nothing.
   */
  keyOf?(rule: string, message: Message): string | undefined
  peek?(message: Message): MaybePromise<readonly Decision[]>
  /** Calls a listener when decisions may differ from now on. */
  on?(event: 'changed', listener: () => void): unknown
  off?(event: 'changed', listener: () => void): unknown
}
