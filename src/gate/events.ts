import type { Decision, Scaled } from '../decision.ts'
import type { Message } from '../message.ts'
import type { StoreState, StoreWarning } from '../stores/store.ts'

/** What a gate tells. Listeners are called at once, one after another; what they throw is logged. */
export interface GateEvents {
  decision: [decision: Decision, message: Message]
  warning: [warning: StoreWarning]
  store: [state: StoreState]
  policy: [change: PolicyChange]
  /** What adaptive limits are multiplied by from now on; undefined where they are as they are written. */
  scaled: [scaled: Scaled | undefined]
}

export type PolicyChange =
  | { readonly kind: 'applied'; readonly rules: readonly string[] }
  | { readonly kind: 'refused'; readonly error: Error }
