import type { LimitWarning } from '../chain/rules/usage-warning.ts'
import type { Decision, Scaled } from '../core/decision.ts'
import type { Message } from '../core/message.ts'
import type { BreakerStateEvent, TableFullWarning } from '../stores/store.ts'
import type { RuntimeEntryChange } from './runtime-entry.ts'

/** Events of a gate. Listeners run synchronously, one after another. Errors that they throw are logged. */
export interface GateEvents {
  decision: [decision: Decision, message: Message]
  /** A rule has more keys than its maximum, or a key is close to its limit. */
  warning: [warning: TableFullWarning | LimitWarning]
  store: [state: BreakerStateEvent]
  policy: [change: PolicyReloadResult]
  /**
   * Decisions may differ from now on, because of a policy, ban, override, exemption, tier, factor or reset.
   * Guards check held messages again.
   */
  changed: []
  /** The current factor of adaptive limits; undefined if limits apply as written. */
  scaled: [scaled: Scaled | undefined]
  /** A runtime entry was added or removed, or it expired. */
  audit: [change: RuntimeEntryChange]
}

export type PolicyReloadResult =
  | { readonly kind: 'applied'; readonly rules: readonly string[] }
  | { readonly kind: 'refused'; readonly error: Error }
