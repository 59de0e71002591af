import type { CustomAlgorithm } from '../algorithms/algorithm.ts'
import type { Middleware } from '../chain/middleware.ts'
import type { Penalty } from '../chain/rules/penalty.ts'
import type {
  ExemptOptions,
  HeldOptions,
  InFlightOptions,
  LimitOptions,
  QuotaOptions,
  SizeOptions,
} from '../chain/rules/rule-options.ts'
import type { Tiers } from '../chain/rules/tiers.ts'
import type { CompiledBehaviour } from '../chain/senders/behaviour.ts'
import type { Identity, IdentitySpec } from '../chain/senders/sender-identity.ts'
import type { Position } from '../core/errors.ts'
import type { Dialect } from '../core/message.ts'
import type { StoreSpec } from '../stores/parse-store-options.ts'
import type { PolicyDocument } from './schema.ts'

/** A policy that was read, merged and found sound in every part. */
export interface LoadedPolicy {
  /** The merged document, with all variables put in. May hold secrets: print it through `redact`. */
  readonly document: PolicyDocument
  /** The files it was read from, in order. */
  readonly files: readonly string[]
  /** The user's own algorithms, by the names rules may give. */
  readonly algorithms: ReadonlyMap<string, CustomAlgorithm>
  /** Where a value stands, by its path (`rules[2].limit`); what was given as an object has no line. */
  locate(path: string): Position
}

/** A rule of a policy as the options its middleware was made of. */
export type CompiledRule =
  | { readonly kind: 'limit'; readonly topic?: string; readonly options: LimitOptions }
  | { readonly kind: 'quota'; readonly topic?: string; readonly options: QuotaOptions }
  | { readonly kind: 'inFlight'; readonly topic?: string; readonly options: InFlightOptions }
  | { readonly kind: 'held'; readonly topic?: string; readonly options: HeldOptions }
  | { readonly kind: 'maxSize'; readonly topic?: string; readonly options: SizeOptions }

/** A middleware, and the pattern of the topics it stands for; undefined for every topic. */
export interface CompiledEntry {
  readonly pattern: string | undefined
  readonly middleware: Middleware
}

/** A policy as a gate takes it. */
export interface CompiledPolicy {
  readonly dialect: Dialect
  readonly store: StoreSpec
  readonly senders: IdentitySpec | undefined
  readonly identity: Identity | undefined
  /** Scales the limits of all rules by the load. */
  readonly adaptive: Middleware | undefined
  /** Exemptions first, then what goes by handlers, then rules, each in the order of its list. */
  readonly entries: readonly CompiledEntry[]
  readonly rules: readonly CompiledRule[]
  readonly exemptions: readonly ExemptOptions[]
  readonly tiers: Tiers | undefined
  readonly penalty: Penalty | undefined
  /** Limits that follow the behaviour of who sends. */
  readonly compiledBehaviour: CompiledBehaviour | undefined
  readonly source: LoadedPolicy
}
