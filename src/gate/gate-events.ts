import type { LimitWarning } from '../chain/rules/usage-warning.ts'
import type { Decision, Scaled } from '../core/decision.ts'
import type { Message } from '../core/message.ts'
import type { StoreState, StoreWarning } from '../stores/store.ts'
import type { Change } from './runtime-entry.ts'

/** What a gate tells. Listeners are called at once, one after another; what they throw is logged. */
export interface GateEvents {
  decision: [decision: Decision, message: Message]
  /** A rule has more keys than it may keep, or a key nears its limit. */
  warning: [warning: StoreWarning | LimitWarning]
  store: [state: StoreState]
  policy: [change: PolicyChange]
  /**
   * Decisions may differ from now on: by a policy, a ban, an override, an exemption, a tier, a factor or a reset. Guards
   * ask again about what they hold.
   */
  changed: []
  /** What adaptive limits are multiplied by from now on; undefined where they are as they are written. */
  scaled: [scaled: Scaled | undefined]
  /** Something was said of a sender at run time, taken back, or came to its end. */
  audit: [change: Change]
}

export type PolicyChange =
  | { readonly kind: 'applied'; readonly rules: readonly string[] }
  | { readonly kind: 'refused'; readonly error: Error }
