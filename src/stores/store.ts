import type { Verdict } from '../algorithms/kernel.ts'
import type { Limit } from '../algorithms/limit.ts'
import type { MaybePromise } from '../core/message.ts'
import type { Backend } from './backend.ts'
import type { SharedEntries } from './shared-entries.ts'

export type { Verdict }

/**
 * Who answers while a store is out of reach: limits in this process, the same at half the rate, or nobody, with all
 * allowed or all denied.
 */
export const FALLBACKS = ['memory', 'degraded', 'allow', 'deny'] as const
export type Fallback = (typeof FALLBACKS)[number]

/** What one message asks of one rule. */
export interface Charge {
  readonly limit: Limit
  /** Which of the rule's counters; injective over the rule's `per`. */
  readonly key: string
  /** Units, at least 0, in steps of 1 / limit.scale. */
  readonly cost: number
  /** A soft charge (shadow, degrade) that does not fit is left out and stops no other. */
  readonly soft?: boolean | undefined
  /** Who answers this charge while the store is out of reach; default: as the store was opened with. */
  readonly fallback?: Fallback | undefined
}

/** Which state to forget: all of it, a rule's, or one key of a rule. */
export interface Selector {
  readonly rule?: string | undefined
  readonly key?: string | undefined
}

export interface StoreHealth {
  readonly ok: boolean
  /** Only of a store behind a circuit breaker. */
  readonly state?: BreakerState | undefined
  readonly fallback?: Fallback | undefined
  readonly keys?: number | undefined
  readonly evictions?: number | undefined
  readonly overflows?: number | undefined
  readonly detail?: string | undefined
  /** What lets the store fail one day, in words, as settings of its server. */
  readonly warnings?: readonly string[] | undefined
}

/** A rule has more keys than it may keep: some that were not refusing were evicted, or new ones share a counter. */
export interface StoreWarning {
  readonly kind: 'table_full'
  readonly rule: string
  readonly keys: number
  readonly evictions: number
  readonly overflows: number
}

/** Asked as usual, not asked at all, or asked by one message at a time to see whether it is well again. */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** What has become of the way to a store. */
export interface StoreState {
  readonly kind: 'state'
  /** The store's name. */
  readonly store: string
  readonly state: BreakerState
  /** Whether the store itself answers. */
  readonly ok: boolean
  /** What went wrong, where it opened. */
  readonly detail?: string | undefined
}

export type StoreEvent = StoreWarning | StoreState

/**
 * Where the state of limits lives. `decide` is one atomic step: with `commit` all charges are taken, or, when a
 * charge that is not soft is denied, none. Charges of the same rule and key in one step add up. Throws (or rejects
 * with) StoreError when broken or closed, never when denied. `storeConformance` of topicgate/testing holds a store to it.
 */
export interface Store {
  readonly name: string
  /** The built-in algorithms it runs. */
  readonly algorithms: ReadonlySet<string>
  /** Why this store cannot keep a limit of these algorithms or of one's own, in words; undefined where it can. */
  refuses?(limit: Limit): string | undefined
  decide(
    charges: readonly Charge[],
    options: { readonly commit: boolean; readonly nowMs?: number | undefined },
  ): MaybePromise<readonly Verdict[]>
  /**
   * Takes limits as in force from `nowMs` on: what their rules had counted is carried over by the old numbers up to
   * then. Without it a store does so when it is first asked by changed numbers. Never throws.
   */
  adopt?(limits: readonly Limit[], nowMs: number): void
  forget(selector: Selector): MaybePromise<number>
  /** Gives back what an allowed decision took; never lifts a key above whole. */
  refund(charges: readonly Charge[]): MaybePromise<void>
  health(): MaybePromise<StoreHealth>
  /** Resolves once the store decides; rejects with StoreError, with the cause, if that takes too long. */
  ready?(): Promise<void>
  /** Where its nodes tell each other of bans, overrides and the like; absent where it is of one process alone. */
  readonly sharedEntries?: SharedEntries | undefined
  /** What its state stands in; absent where nothing else can stand there. */
  readonly backend?: Backend | undefined
  /** The longest a decision takes, in milliseconds, where the store itself sees to that. */
  readonly answersWithinMs?: number | undefined
  /** Who decides in its place, of a store that sees to that itself. */
  readonly fallback?: Fallback | undefined
  /** Tells a listener of what becomes of the store; the returned function ends it. */
  watch?(listener: (event: StoreEvent) => void): () => void
  close(): Promise<void>
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose]?(): Promise<void>
}

/** Why a store cannot keep a limit, in words; undefined where it can. */
export function refusalOf(store: Store, limit: Limit): string | undefined {
  if (limit.custom !== undefined || store.algorithms.has(limit.algorithm)) return store.refuses?.(limit)
  return `the ${store.name} store does not run ${limit.algorithm}`
}
