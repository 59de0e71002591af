import type { RuntimeEntryKind } from './runtime-entry.ts'

/** State of a gate, for metrics. It is computed when it is read; messages cost nothing more. */
export interface GateStats {
  readonly policy: PolicyStats
  /** Number of runtime entries in effect. */
  readonly runtimeEntries: Readonly<Record<RuntimeEntryKind, number>>
  /** Undefined without adaptive limits. */
  readonly adaptive: AdaptiveStats | undefined
  readonly handlers: readonly HandlerStats[]
}

/** State of the policy of a gate. */
export interface PolicyStats {
  /** Policy in force; undefined for a gate without a policy. */
  readonly applied: AppliedPolicy | undefined
  /** Number of invalid policies that were not applied. */
  readonly refused: number
  /** False if the last policy was refused, so that an older one is in force. */
  readonly isLastApplied: boolean
}

export interface AppliedPolicy {
  /** Identifies the content of the policy, without its secrets: 16 hexadecimal digits. */
  readonly fingerprint: string
  readonly atMs: number
}

/** State of the adaptive limits of a gate. */
export interface AdaptiveStats {
  /** Highest load, 0 to 1; undefined before the first reading. */
  readonly load: number | undefined
  /** Values of this node by signal, in the unit of the signal. */
  readonly signals: ReadonlyMap<string, number>
  /** Current factor by rule. */
  readonly factors: ReadonlyMap<string, number>
}

/** State of a middleware that uses handler results. */
export interface HandlerStats {
  /** Name of the middleware, with a number if the name occurs several times. */
  readonly id: string
  /** Current rate per second; undefined if it controls no rate. */
  readonly perSecond: number | undefined
  /** Number of keys whose circuit is not closed; undefined if it is no circuit breaker. */
  readonly openKeys: number | undefined
}
