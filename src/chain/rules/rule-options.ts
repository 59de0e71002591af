import type { CustomAlgorithm } from '../../algorithms/custom-algorithm-types.ts'
import type { AlgorithmName } from '../../algorithms/limit-types.ts'
import type { ConditionSpec } from '../../conditions/condition.ts'
import type { Dialect, Message, Operation } from '../../core/message.ts'
import type { ExceededSpec } from '../../outcomes/exceeded.ts'
import type { RefusalWords } from '../../outcomes/rule-info.ts'
import type { Fallback } from '../../stores/store.ts'
import type { PenaltySpec } from './compile-penalty.ts'
import type { SenderMatchLists } from './sender-filter.ts'

/**
 * Scope of a limit: `global`, a part of the sender, `topic` (the exact topic), `pattern` (the rule's own
 * pattern), `header.NAME`, or the name of a capture of the rule's topic. A list counts by the combination.
 * Senders that lack the part share one counter.
 */
export type Scope =
  | 'global'
  | 'client'
  | 'device'
  | 'user'
  | 'apiKey'
  | 'role'
  | 'tier'
  | 'ip'
  | 'topic'
  | 'pattern'
  | `header.${string}`
  | (string & {})

/** Named costs. */
export const COST_WEIGHTS = { light: 1, medium: 5, heavy: 10, premium: 50 } as const
export type CostWord = keyof typeof COST_WEIGHTS

/** A cost by bytes: `{ bytes: 'per 4KiB', overhead: 100, min: 1 }`. */
export interface BytesCost {
  /**
   * `payload`, `message` (topic and payload), or `per 4KiB`: one unit for each started block of topic,
   * payload and overhead.
   */
  readonly bytes: 'payload' | 'message' | (string & {})
  /** Bytes added to each message before blocks are counted, such as 100 or `1kB`. Default: 0. */
  readonly overhead?: number | string | undefined
  /** Minimum cost in units. Default: 1. */
  readonly min?: number | undefined
}

/**
 * Cost of a message: units, `bytes` of the payload, a named cost, a cost by bytes, a payload or header field,
 * by topic pattern, or a function. A cost that is unreadable, negative or not a number counts as 1. Costs
 * chosen by the sender are at least `min`, 1 by default.
 */
export type Cost =
  | number
  | 'bytes'
  | CostWord
  | BytesCost
  | { readonly payload: string; readonly min?: number | undefined }
  | { readonly header: string; readonly min?: number | undefined }
  | {
      readonly topics: Readonly<Record<string, number | CostWord>>
      readonly default?: number | CostWord | undefined
    }
  | ((message: Message) => number)

export type { ExceededSpec } from '../../outcomes/exceeded.ts'

/** Options shared by limits and quotas. */
export interface RuleOptions {
  /** Unique in a gate. The counters are stored under it. */
  readonly name: string
  readonly description?: string | undefined
  /** Default: publish. */
  readonly on?: Operation | undefined
  /** Default: global. */
  readonly per?: Scope | readonly Scope[] | undefined
  readonly cost?: Cost | undefined
  /** Default: reject. */
  readonly exceeded?: ExceededSpec | undefined
  /** Text of refusals: with placeholders such as {retry}, one text for each kind of sender, or a function. */
  readonly message?: RefusalWords | undefined
  /** Shares of the limit, such as `80%`, at which the gate emits a warning for a key before it refuses anything. */
  readonly warn?: readonly string[] | undefined
  /** Blocks for senders that this rule refuses repeatedly. Default: `penalties` of the policy. */
  readonly penalties?: PenaltySpec | undefined
  /** Senders that the rule applies to. One entry of one list is enough. Default: all. */
  readonly for?: SenderMatchLists | undefined
  /** Messages that the rule applies to. Default: all. */
  readonly when?: ConditionSpec | undefined
  /**
   * Decides and reports, but refuses nothing. A share such as `90%`: for so many of the senders, always the same ones.
   * Default: false.
   */
  readonly shadow?: boolean | string | undefined
  /** Answer of this rule while a remote store is unreachable. Default: the fallback that the store was opened with. */
  readonly fallback?: Fallback | undefined
  /** Default: true. */
  readonly enabled?: boolean | undefined
  /** Orders rules among rules: higher ones first, equal ones in policy order. Default: 0. */
  readonly priority?: number | undefined
  /** Dialect of the patterns in `cost.topics`. Default: mqtt. */
  readonly dialect?: Dialect | undefined
}

/** Options of a limit of concurrent handlers, enforced by consumers and `gate.run`. */
export interface InFlightOptions {
  /** Unique in a gate. */
  readonly name: string
  readonly description?: string | undefined
  /** Maximum number of concurrent handlers for each key. */
  readonly inFlight: number
  /** Counts handled messages, one each. */
  readonly on?: 'publish' | undefined
  readonly cost?: undefined
  /** Default: global. */
  readonly per?: Scope | readonly Scope[] | undefined
  /** Outcome of a message if no handler slot is free. `throttle` waits for one. Default: throttle. */
  readonly exceeded?: 'throttle' | 'retry' | 'drop' | 'reject' | undefined
  /** Default: true. */
  readonly enabled?: boolean | undefined
  readonly dialect?: Dialect | undefined
}

/** Options of a limit of held items: exactly one of `connections`, `subscriptions` and `retained`. */
export interface ResourceLimitOptions {
  /** Unique in a gate. */
  readonly name: string
  readonly description?: string | undefined
  /** Maximum number of connections for each key. */
  readonly connections?: number | undefined
  /** Maximum number of subscriptions for each key, including persistent sessions. */
  readonly subscriptions?: number | undefined
  /** Maximum number of retained messages for each key, or of their bytes including topics, such as `10MB`. */
  readonly retained?: number | string | undefined
  /** `connect`, `subscribe` or `publish`, matching the kind. Optional. */
  readonly on?: Operation | undefined
  readonly cost?: undefined
  /** Default: global. */
  readonly per?: Scope | readonly Scope[] | undefined
  /** Default: reject. */
  readonly exceeded?: 'reject' | 'drop' | 'disconnect' | undefined
  /** Default: true. */
  readonly enabled?: boolean | undefined
  readonly dialect?: Dialect | undefined
}

/** Options of a maximum message size. It counts nothing and is evaluated before limits. */
export interface MessageSizeOptions {
  /** Unique in a gate. */
  readonly name: string
  readonly description?: string | undefined
  /** Maximum payload bytes: a number, `256kB` (k = 1000) or `64KiB` (Ki = 1024). */
  readonly maxSize: number | string
  /** Default: publish. */
  readonly on?: 'publish' | 'deliver' | undefined
  readonly for?: SenderMatchLists | undefined
  readonly when?: ConditionSpec | undefined
  /** Outcome of a larger message; must not delay it. Default: reject. */
  readonly exceeded?: ExceededSpec | undefined
  readonly message?: RefusalWords | undefined
  readonly penalties?: PenaltySpec | undefined
  readonly shadow?: boolean | string | undefined
  /** Default: true. */
  readonly enabled?: boolean | undefined
  readonly priority?: number | undefined
  readonly dialect?: Dialect | undefined
}

/**
 * Options of a rule that refuses messages whose payload equals the last one that passed on their topic. It counts
 * nothing and is evaluated before limits.
 */
export interface UnchangedPayloadOptions {
  /** Unique in a gate. */
  readonly name: string
  readonly description?: string | undefined
  /** Outcome of an unchanged message. */
  readonly unchanged: 'drop' | 'reject'
  /** Not allowed: the outcome is the value of `unchanged`. */
  readonly exceeded?: undefined
  /** Age of the last payload at which an equal one passes again, as `10m`. Default: never. */
  readonly upTo?: string | undefined
  /**
   * Scopes within which payloads are compared. The topic is always one of them; `topic` alone compares the payloads of
   * all senders. Senders that lack a part are not compared. Default: client.
   */
  readonly per?: Scope | readonly Scope[] | undefined
  /** Default: publish, the only action. */
  readonly on?: 'publish' | undefined
  readonly for?: SenderMatchLists | undefined
  readonly when?: ConditionSpec | undefined
  readonly shadow?: boolean | string | undefined
  /** Default: true. */
  readonly enabled?: boolean | undefined
  readonly priority?: number | undefined
  readonly dialect?: Dialect | undefined
}

/** Rate of a rule, under the name used in policies or as `rate`. */
type RateUnder<Name extends string> =
  | ({ readonly [Key in Name]: string } & { readonly rate?: undefined })
  | ({ readonly [Key in Name]?: undefined } & { readonly rate: string })

/**
 * Options of `limit`. The rate is in `limit` or `rate`: `10/s`, `100 per minute`, `5 per 5 minutes`, `1MB/s`,
 * `10/s burst 20`, `unlimited`.
 */
export type LimitOptions = RateUnder<'limit'> & TokenOptions

interface TokenOptions extends RuleOptions {
  /**
   * Capacity of a token bucket or custom algorithm in units. Overrides a burst in `limit`. Default: the count
   * of the rate.
   */
  readonly burst?: number | undefined
  /** Initial units of a token bucket. Default: its burst. */
  readonly initial?: number | undefined
  /** Name of an algorithm, or a custom algorithm. Default: token-bucket. */
  readonly algorithm?: AlgorithmName | CustomAlgorithm | undefined
}

/** Options of `quota`. The rate is in `quota` or `rate`: `10000/day`, `1GB/month`. */
export type QuotaOptions = RateUnder<'quota'> & WindowOptions

interface WindowOptions extends RuleOptions {
  /** Calendar windows begin at local midnight (weeks on Monday); rolling ones look back. Default: calendar. */
  readonly window?: 'calendar' | 'rolling' | undefined
  /** IANA time zone of the calendar. Default: UTC. */
  readonly zone?: string | undefined
}

/** Options of `exempt`. One entry of one list is enough; `when` must match as well. */
export interface ExemptOptions extends Omit<SenderMatchLists, 'tiers'> {
  readonly name?: string | undefined
  readonly description?: string | undefined
  readonly topics?: readonly string[] | undefined
  /**
   * Actions that it applies to. Default: all. On a connect, users, API keys and roles are not authenticated
   * yet, so their lists cover no sender.
   */
  readonly on?: Operation | readonly Operation[] | undefined
  readonly when?: ConditionSpec | undefined
  /** Limit of the exemption, such as `5/min per device`. Beyond it, the rules apply. */
  readonly limit?: string | undefined
  readonly enabled?: boolean | undefined
  /** Orders exemptions among exemptions: higher ones first, equal ones in policy order. Default: 0. */
  readonly priority?: number | undefined
  /** Dialect of `topics`. Default: mqtt. */
  readonly dialect?: Dialect | undefined
}
