/** Parts of a policy document that the model understands, as a user writes them. */
export interface Policy {
  version?: 1
  shadow?: boolean | string
  senders?: Partial<Record<'client' | 'user' | 'device' | 'apiKey' | 'tier', string>> & {
    roles?: { from: string; map: Record<string, string[]> }
  }
  tiers?: Record<string, TierWords | AssignWords>
  exempt?: ExemptionWords[]
  rules: RuleWords[]
  adaptive?: { levels: Record<string, string | number>; signals: [{ 'queue-depth': number }]; every: string }
  behaviour?: { good?: number; abusive?: number; per?: Part }
  penalties?: PenaltyWords
}

export type Part = 'client' | 'user' | 'device' | 'apiKey' | 'ip'
export type Action = 'publish' | 'subscribe' | 'connect' | 'deliver'
export const ACTIONS: readonly Action[] = ['publish', 'subscribe', 'connect', 'deliver']

export interface TierWords {
  limit?: string
  cost?: string
}

export interface AssignWords {
  from?: string
  default?: string
}

export interface PenaltyWords {
  block: string
  after?: string
  grow?: string
  per?: Part
  flapping?: string | string[]
}

export interface ExemptionWords {
  name: string
  topics?: string[]
  clients?: string[]
  users?: string[]
  devices?: string[]
  apiKeys?: string[]
  roles?: string[]
  ips?: string[]
  on?: Action[]
  when?: ConditionWords
  limit?: string
  enabled?: boolean
  priority?: number
}

export interface ValueWords {
  equals?: string | number | boolean
  in?: (string | number)[]
  range?: [number | null, number | null]
  exists?: boolean
}

export interface ConditionWords {
  time?: string
  days?: string
  zone?: string
  payload?: ValueWords & { field: string }
  header?: ValueWords & { name: string; secret?: string }
  size?: { min?: number | string; max?: number | string }
  qos?: number[]
  retain?: boolean
  will?: boolean
  protocol?: 'mqtt' | 'nats'
  all?: ConditionWords[]
  any?: ConditionWords[]
  not?: ConditionWords
}

export interface BytesCostWords {
  bytes: string
  overhead?: number
  min?: number
}

export type CostWord = 'light' | 'medium' | 'heavy' | 'premium'
export type CostWords =
  | number
  | 'bytes'
  | CostWord
  | BytesCostWords
  | { payload: string; min?: number }
  | { header: string; min?: number }
  | { topics: Record<string, number | CostWord>; default?: number | CostWord }

export interface SenderListWords {
  clients?: string[]
  devices?: string[]
  users?: string[]
  apiKeys?: string[]
  roles?: string[]
  tiers?: string[]
  ips?: string[]
}

export interface RuleWords {
  name: string
  topic?: string
  on?: Action
  per?: string | string[]
  limit?: string
  quota?: string
  maxSize?: number | string
  window?: 'rolling'
  zone?: string
  algorithm?: 'token-bucket' | 'leaky-bucket' | 'fixed-window' | 'sliding-log' | 'sliding-counter'
  initial?: number
  cost?: CostWords
  exceeded?: string
  for?: SenderListWords
  when?: ConditionWords
  shadow?: boolean | string
  enabled?: boolean
  priority?: number
  penalties?: PenaltyWords
}

/** A sender as a broker knows it. */
export interface SenderWords {
  readonly client?: string
  readonly user?: string
  readonly device?: string
  readonly apiKey?: string
  readonly ip?: string
  readonly roles?: readonly string[]
  readonly tier?: string
}

export interface MessageWords {
  readonly topic: string
  readonly on: Action
  readonly sender: SenderWords
  readonly size: number
  readonly qos?: 0 | 1 | 2
  readonly retain?: boolean
  readonly will?: boolean
  readonly protocol?: 'mqtt' | 'nats'
  readonly headers?: Readonly<Record<string, string>>
  /** Absent: a payload that is no JSON. */
  readonly payload?: unknown
}

/** An entry that an operator adds while a gate runs. */
export type Subject = { readonly [Name in Part]?: string }
export type BanWords = Subject & { outcome?: 'drop' | 'reject' | 'disconnect'; for?: number; reason: string }
export type OverrideWords = Subject & { limit: string; rules?: string[]; for?: number; reason: string }
export type GivenTierWords = Subject & { tier: string; for?: number; reason: string }
export type RunTimeExemptionWords = ExemptionWords & { for?: number; reason: string }
