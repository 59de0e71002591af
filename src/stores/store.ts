import type { Limit, Verdict } from '../algorithms/limit-types.ts'
import type { MaybePromise } from '../core/message.ts'
import type { ShareableBackend } from './backend-connection.ts'
import type { HeldLeases } from './leased/held-leases.ts'
import type { SharedEntries } from './shared-entries.ts'

export type { Verdict }

/**
 * Fallbacks while a store is unreachable: count in this process, count there at half the rate, allow all, or deny
 * all.
 */
export const FALLBACKS = ['memory', 'degraded', 'allow', 'deny'] as const
export type Fallback = (typeof FALLBACKS)[number]

/** Cost that one message charges to one rule. */
export interface Charge {
  readonly limit: Limit
  /** Key of the rule's counter; injective over the rule's `per`. */
  readonly key: string
  /** Units, at least 0, in steps of 1 / limit.scale. */
  readonly cost: number
  /** A soft charge (shadow, degrade) that does not fit is skipped and denies no other charge. */
  readonly soft?: boolean | undefined
  /** Fallback for this charge while the store is unreachable. Default: the store's own. */
  readonly fallback?: Fallback | undefined
}

/** State to forget: all of it, that of a rule, or that of one key of a rule. */
export interface StateSelector {
  readonly rule?: string | undefined
  readonly key?: string | undefined
}

/** Counter of one key of a rule. */
export interface ScannedKey {
  readonly key: string
  /** Whole units left. */
  readonly remaining: number
  /** Whole milliseconds until it is full again. */
  readonly resetMs: number
}

/** Counters of a part of a rule's keys. */
export interface KeyScan {
  readonly keys: readonly ScannedKey[]
  /** Position to continue at; undefined at the end. */
  readonly next: number | undefined
}

export interface StoreHealth {
  readonly ok: boolean
  /** Only for a store behind a circuit breaker. */
  readonly state?: BreakerState | undefined
  readonly fallback?: Fallback | undefined
  readonly keys?: number | undefined
  readonly evictions?: number | undefined
  readonly overflows?: number | undefined
  readonly detail?: string | undefined
  /** Clock of the store's server minus that of this process, in milliseconds, if it is known. */
  readonly clockOffsetMs?: number | undefined
  /** Problems that may make the store fail later, such as settings of its server. */
  readonly warnings?: readonly string[] | undefined
}

/** Warning that a rule has too many keys: some that were not refusing were evicted, or new ones share a counter. */
export interface TableFullWarning {
  readonly kind: 'table_full'
  readonly rule: string
  readonly keys: number
  readonly evictions: number
  readonly overflows: number
}

/** Circuit breaker state: requests pass (closed), none pass (open), or one at a time passes as a probe (half-open). */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** Event of a circuit breaker that changed its state. */
export interface BreakerStateEvent {
  readonly kind: 'state'
  readonly store: string
  readonly state: BreakerState
  /** True if the store itself answers. */
  readonly ok: boolean
  /** Cause, if the breaker opened. */
  readonly detail?: string | undefined
}

export type StoreEvent = TableFullWarning | BreakerStateEvent

/**
 * Holds the state of limits. `decide` is one atomic step: with `commit` it charges all charges, or none if a charge
 * that is not soft is denied. Charges of the same rule and key in one step add up. Throws (or rejects with)
 * StoreError when broken or closed, never when denied. `storeConformance` of topicgate/testing tests a store against
 * this contract.
 */
export interface Store {
  readonly name: string
  /** Built-in algorithms that this store supports. */
  readonly algorithms: ReadonlySet<string>
  /** Returns why this store cannot keep a limit of a supported or custom algorithm; undefined if it can. */
  refuses?(limit: Limit): string | undefined
  decide(
    charges: readonly Charge[],
    options: { readonly commit: boolean; readonly nowMs?: number | undefined },
  ): MaybePromise<readonly Verdict[]>
  /**
   * Makes limits active from `nowMs` on and migrates the counters of their rules. A store without this method
   * migrates them on the next decision. Never throws.
   */
  adopt?(limits: readonly Limit[], nowMs: number): void
  forget(selector: StateSelector): MaybePromise<number>
  /** Returns the units that an allowed decision took; never raises a key above full. */
  refund(charges: readonly Charge[]): MaybePromise<void>
  health(): MaybePromise<StoreHealth>
  /** Resolves once the store decides. Rejects with StoreError and the cause if that takes too long. */
  ready?(): Promise<void>
  /** Runtime entries shared by all nodes; absent if the store belongs to one process. */
  readonly sharedEntries?: SharedEntries | undefined
  /** Leases from which a caller may decide now, as `decide` would; undefined if `decide` has to be called. */
  readonly heldLeases?: HeldLeases | undefined
  /** Connection that other features may share; absent if there is none to share. */
  readonly backend?: ShareableBackend | undefined
  /**
   * Reads the counters of a rule from a position on: at most `MAX_SIZES.scannedKeys` of them. Charges nothing. Absent if
   * the store cannot list its keys.
   */
  scan?(rule: string, from: number, nowMs: number): KeyScan
  /** Longest duration of a decision in milliseconds, if the store enforces one. */
  readonly answersWithinMs?: number | undefined
  /** Fallback that the store itself applies. */
  readonly fallback?: Fallback | undefined
  /** Subscribes to events of the store; the returned function unsubscribes. */
  watch?(listener: (event: StoreEvent) => void): () => void
  close(): Promise<void>
  /** Same as `close`, for `await using`. */
  [Symbol.asyncDispose]?(): Promise<void>
}

/** Returns why a store cannot keep a limit; undefined if it can. */
export function findStoreLimitProblem(store: Store, limit: Limit): string | undefined {
  if (limit.custom !== undefined || store.algorithms.has(limit.algorithm)) return store.refuses?.(limit)
  return `the ${store.name} store does not run ${limit.algorithm}`
}
