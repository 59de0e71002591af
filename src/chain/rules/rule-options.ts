import type { CustomAlgorithm } from '../../algorithms/custom.ts'
import type { AlgorithmName } from '../../algorithms/limit.ts'
import type { ConditionSpec } from '../../conditions/condition.ts'
import type { Action, Dialect, Message } from '../../core/message.ts'
import type { Exceeded } from '../../outcomes/exceeded.ts'
import type { RefusalWords } from '../../outcomes/refusal-text.ts'
import type { Fallback } from '../../stores/store.ts'
import type { PenaltySpec } from './penalty.ts'
import type { SenderLists } from './sender-lists.ts'

/**
 * By what a limit counts: `global`, a part of the sender, `topic` (the exact topic), `pattern` (the rule's own
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

/** The four standing words for a cost. */
export const COST_WORDS = { light: 1, medium: 5, heavy: 10, premium: 50 } as const
export type CostWord = keyof typeof COST_WORDS

/** A cost by bytes: `{ bytes: 'per 4KiB', overhead: 100, min: 1 }`. */
export interface BytesCost {
  /**
   * `payload`, `message` (topic and payload), or `per 4KiB`: one unit for each block of that size which topic, payload
   * and overhead begin.
   */
  readonly bytes: 'payload' | 'message' | (string & {})
  /** Bytes added to each message before blocks are counted, as 100 or `1kB`. Default: 0. */
  readonly overhead?: number | string | undefined
  /** Least cost in units. Default: 1. */
  readonly min?: number | undefined
}

/**
 * Cost of a message: units, `bytes` of the payload, a word, bytes in full, a payload or header field, by topic pattern, or
 * a function. A cost that cannot be read, is negative or not a number counts as 1. Costs that the sender chooses are at
 * least `min`, which is 1 by default.
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

export type { Exceeded } from '../../outcomes/exceeded.ts'

/** Options that limits and quotas share. */
export interface RuleOptions {
  /** Unique in a gate; the state of the limit lives under it. */
  readonly name: string
  readonly description?: string | undefined
  /** Default: publish. */
  readonly on?: Action | undefined
  /** Default: global. */
  readonly per?: Scope | readonly Scope[] | undefined
  readonly cost?: Cost | undefined
  /** Default: reject. */
  readonly exceeded?: Exceeded | undefined
  /** What a refused sender is told: a text with places as {retry}, one for each kind of sender, or a function. */
  readonly message?: RefusalWords | undefined
  /** Shares of the limit, as `80%`, at which the gate's `warning` event tells of a key, before anything is refused. */
  readonly warn?: readonly string[] | undefined
  /** Blocks for senders this rule has refused again and again; default: as the policy says. */
  readonly penalties?: PenaltySpec | undefined
  /** Senders the rule is for: lists are alternatives. Others do not meet it. Default: all. */
  readonly for?: SenderLists | undefined
  /** Messages the rule is for; others do not meet it. Default: all. */
  readonly when?: ConditionSpec | undefined
  /** Decides and reports, refuses nothing. */
  readonly shadow?: boolean | undefined
  /** Who answers for this rule while a remote store is out of reach. Default: as the store was opened with. */
  readonly fallback?: Fallback | undefined
  /** Default: true. */
  readonly enabled?: boolean | undefined
  /** Sorts rules among rules: higher ones are asked earlier, equal ones in the order of the list. Default: 0. */
  readonly priority?: number | undefined
  /** How the patterns of `cost.topics` are read. Default: mqtt. */
  readonly dialect?: Dialect | undefined
}

/** A limit of handlers at work at once, enacted by consumers and `gate.run`. */
export interface InFlightOptions {
  /** Unique in a gate. */
  readonly name: string
  readonly description?: string | undefined
  /** Most handlers at work at once for each key. */
  readonly inFlight: number
  /** It counts messages that are handled, one each. */
  readonly on?: 'publish' | undefined
  readonly cost?: undefined
  /** Default: global. */
  readonly per?: Scope | readonly Scope[] | undefined
  /** What becomes of a message that finds all of them at work: `throttle` waits for one to end. Default: throttle. */
  readonly exceeded?: 'throttle' | 'retry' | 'drop' | 'reject' | undefined
  /** Default: true. */
  readonly enabled?: boolean | undefined
  readonly dialect?: Dialect | undefined
}

/** A limit of what a broker holds at once: exactly one of `connections`, `subscriptions` and `retained`. */
export interface HeldOptions {
  /** Unique in a gate. */
  readonly name: string
  readonly description?: string | undefined
  /** Most connections for each key. */
  readonly connections?: number | undefined
  /** Most subscriptions for each key, those of persistent sessions included. */
  readonly subscriptions?: number | undefined
  /** Most retained messages for each key; or bytes of them, topics included, as `10MB`. */
  readonly retained?: number | string | undefined
  /** `connect`, `subscribe` or `publish`, as the kind requires; may be left out. */
  readonly on?: Action | undefined
  readonly cost?: undefined
  /** Default: global. */
  readonly per?: Scope | readonly Scope[] | undefined
  /** Default: reject. */
  readonly exceeded?: 'reject' | 'drop' | 'disconnect' | undefined
  /** Default: true. */
  readonly enabled?: boolean | undefined
  readonly dialect?: Dialect | undefined
}

/** A maximum size of messages. It counts nothing, and is asked before what counts. */
export interface SizeOptions {
  /** Unique in a gate. */
  readonly name: string
  readonly description?: string | undefined
  /** Most payload bytes: a number, `256kB` (k = 1000) or `64KiB` (Ki = 1024). */
  readonly maxSize: number | string
  /** Default: publish. */
  readonly on?: 'publish' | 'deliver' | undefined
  readonly for?: SenderLists | undefined
  readonly when?: ConditionSpec | undefined
  /** What becomes of a larger message; nothing that waits. Default: reject. */
  readonly exceeded?: Exceeded | undefined
  readonly message?: RefusalWords | undefined
  readonly penalties?: PenaltySpec | undefined
  readonly shadow?: boolean | undefined
  /** Default: true. */
  readonly enabled?: boolean | undefined
  readonly priority?: number | undefined
  readonly dialect?: Dialect | undefined
}

/** The rate of a rule under its name in policies, or as `rate`. */
type RateUnder<Name extends string> =
  | ({ readonly [Key in Name]: string } & { readonly rate?: undefined })
  | ({ readonly [Key in Name]?: undefined } & { readonly rate: string })

/**
 * Options of `limit`. Its rate is `limit`, or `rate`: `10/s`, `100 per minute`, `5 per 5 minutes`, `1MB/s`,
 * `10/s burst 20`, `unlimited`.
 */
export type LimitOptions = RateUnder<'limit'> & TokenOptions

interface TokenOptions extends RuleOptions {
  /** Most units held by a token bucket or an algorithm of one's own; overrides one in `limit`. Default: the count. */
  readonly burst?: number | undefined
  /** Units a token bucket starts with. Default: its burst. */
  readonly initial?: number | undefined
  /** A name, or an algorithm of one's own. Default: token-bucket. */
  readonly algorithm?: AlgorithmName | CustomAlgorithm | undefined
}

/** Options of `quota`. Its rate is `quota`, or `rate`: `10000/day`, `1GB/month`. */
export type QuotaOptions = RateUnder<'quota'> & WindowOptions

interface WindowOptions extends RuleOptions {
  /** Calendar windows begin at local midnight (weeks on Monday); rolling ones look back. Default: calendar. */
  readonly window?: 'calendar' | 'rolling' | undefined
  /** IANA name of the zone of the calendar. Default: UTC. */
  readonly zone?: string | undefined
}

/** Lists are alternatives (one entry of one list is enough); `when` must hold as well. */
export interface ExemptOptions {
  readonly name?: string | undefined
  readonly description?: string | undefined
  readonly topics?: readonly string[] | undefined
  readonly clients?: readonly string[] | undefined
  readonly devices?: readonly string[] | undefined
  readonly users?: readonly string[] | undefined
  readonly apiKeys?: readonly string[] | undefined
  readonly roles?: readonly string[] | undefined
  /** Addresses and CIDR blocks, v4 and v6. */
  readonly ips?: readonly string[] | undefined
  /**
   * The actions it holds for. Default: all; but on a connect, which is decided before a broker has checked who it is,
   * lists of users, API keys and roles cover nobody.
   */
  readonly on?: Action | readonly Action[] | undefined
  readonly when?: ConditionSpec | undefined
  /** The exemption's own limit, as `5/min per device`: beyond it the message is judged like any other. */
  readonly limit?: string | undefined
  readonly enabled?: boolean | undefined
  /** Sorts exemptions among exemptions: higher ones are asked earlier, equal ones in the order of the list. Default: 0. */
  readonly priority?: number | undefined
  /** How `topics` are read. Default: mqtt. */
  readonly dialect?: Dialect | undefined
}
