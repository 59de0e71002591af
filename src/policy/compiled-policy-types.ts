import type { Middleware } from '../chain/middleware-types.ts'
import type { CompiledPenalty } from '../chain/rules/compile-penalty.ts'
import type {
  ExemptOptions,
  InFlightOptions,
  LimitOptions,
  MessageSizeOptions,
  QuotaOptions,
  ResourceLimitOptions,
  UnchangedPayloadOptions,
} from '../chain/rules/rule-options.ts'
import type { Tiers } from '../chain/rules/tiers.ts'
import type { CompiledBehaviourFactors } from '../chain/senders/behaviour-tracker.ts'
import type { SenderIdentityTemplates, SenderResolver } from '../chain/senders/sender-identity-templates.ts'
import type { Position } from '../core/errors.ts'
import type { Dialect } from '../core/message.ts'
import type { StoreSpec } from '../stores/normalize-store-options.ts'
import type { Pattern } from '../topic/pattern.ts'
import type { PolicyDocument } from './schema.ts'

/** A policy that was loaded, merged, validated and compiled. */
export interface LoadedPolicy {
  /** Merged document with all variables substituted. May contain secrets: print it through `redact`. */
  readonly document: PolicyDocument
  /** Files it was loaded from, in order. */
  readonly files: readonly string[]
  readonly compiled: CompiledPolicy
  /** Identifies the content of the policy, without its secrets: 16 hexadecimal digits. */
  readonly fingerprint: string
  /** Returns the source position of a path such as `rules[2].limit`; values of objects have no line. */
  locate(path: string): Position
}

/** Options of one compiled rule. */
export type CompiledRuleOptions =
  | { readonly kind: 'limit'; readonly topic?: string; readonly options: LimitOptions }
  | { readonly kind: 'quota'; readonly topic?: string; readonly options: QuotaOptions }
  | { readonly kind: 'inFlight'; readonly topic?: string; readonly options: InFlightOptions }
  | { readonly kind: 'resource'; readonly topic?: string; readonly options: ResourceLimitOptions }
  | { readonly kind: 'maxSize'; readonly topic?: string; readonly options: MessageSizeOptions }
  | { readonly kind: 'unchanged'; readonly topic?: string; readonly options: UnchangedPayloadOptions }

/** A middleware and the pattern of its topics; undefined for every topic. */
export interface MiddlewareEntry {
  readonly pattern: Pattern | undefined
  readonly middleware: Middleware
}

/** A compiled policy for a gate. */
export interface CompiledPolicy {
  readonly dialect: Dialect
  readonly store: StoreSpec
  readonly senders: SenderIdentityTemplates | undefined
  readonly identity: SenderResolver | undefined
  /** Scales the limits of all rules by the load. */
  readonly adaptive: Middleware | undefined
  /** Exemptions, then middleware based on handlers, then rules, each in the order of its list. */
  readonly entries: readonly MiddlewareEntry[]
  readonly rules: readonly CompiledRuleOptions[]
  readonly exemptions: readonly ExemptOptions[]
  readonly tiers: Tiers | undefined
  readonly penalty: CompiledPenalty | undefined
  /** Limits by the behaviour of the sender. */
  readonly compiledBehaviour: CompiledBehaviourFactors | undefined
}
