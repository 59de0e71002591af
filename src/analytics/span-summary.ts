import { MAX_SIZES } from '../core/max-sizes.ts'
import { HeavyHitters, type SerializedHeavyHitters } from './heavy-hitters.ts'
import { HyperLogLog } from './hyperloglog.ts'

/** Lengths of the spans. Each begins at a multiple of its length since the epoch; days are in UTC. */
export const SPAN_LENGTHS = { slice: 300_000, hour: 3_600_000, day: 86_400_000 } as const
export type SpanKind = keyof typeof SPAN_LENGTHS

const LISTS = ['clients', 'topics', 'rules'] as const

/** Serialised {@link SpanSummary}: plain JSON. */
export interface SummaryRecord {
  readonly version: 1
  readonly grain: SpanKind
  readonly startMs: number
  readonly total: number
  readonly blocked: number
  /** Sketch of the clients, for merging. */
  readonly unique: string
  /** Most refused clients, topics and rules. */
  readonly clients: SerializedHeavyHitters
  readonly topics: SerializedHeavyHitters
  readonly rules: SerializedHeavyHitters
}

/** Decisions of one span, in bounded memory; summaries of several spans and nodes can be merged. */
export class SpanSummary {
  readonly kind: SpanKind
  readonly startMs: number
  total = 0
  blocked = 0
  readonly unique = new HyperLogLog()
  clients: HeavyHitters
  topics: HeavyHitters
  rules: HeavyHitters
  #estimate: number | undefined

  constructor(kind: SpanKind, startMs: number, names: number = MAX_SIZES.analyticsNamesPerInterval) {
    this.kind = kind
    this.startMs = startMs
    this.clients = new HeavyHitters(names)
    this.topics = new HeavyHitters(names)
    this.rules = new HeavyHitters(names)
  }

  get endMs(): number {
    return this.startMs + SPAN_LENGTHS[this.kind]
  }

  /** Returns the number of distinct clients; cached until the next merge. */
  uniqueClients(): number {
    this.#estimate ??= this.unique.estimate()
    return this.#estimate
  }

  merge(other: SpanSummary): void {
    this.total += other.total
    this.blocked += other.blocked
    this.unique.merge(other.unique)
    for (const list of LISTS) this[list].merge(other[list].record())
    this.#estimate = undefined
  }

  /** Removes names, keeps numbers. */
  forgetNames(): void {
    for (const list of LISTS) this[list] = new HeavyHitters(MAX_SIZES.analyticsNamesPerInterval)
  }

  record(): SummaryRecord {
    const { kind, startMs, total, blocked } = this
    const [clients, topics, rules] = [this.clients.record(), this.topics.record(), this.rules.record()]
    return {
      version: 1,
      grain: kind,
      startMs,
      total,
      blocked,
      unique: this.unique.toText(),
      clients,
      topics,
      rules,
    }
  }

  /** Returns undefined for an invalid record or one of another version. */
  static fromRecord(value: unknown): SpanSummary | undefined {
    if (typeof value !== 'object' || value === null) return undefined
    const {
      version,
      grain: kind,
      startMs,
      total,
      blocked,
      unique,
      ...lists
    } = value as Partial<SummaryRecord>
    if (version !== 1 || kind === undefined || !Object.hasOwn(SPAN_LENGTHS, kind)) return undefined
    if (!isCount(startMs) || !isCount(total) || !isCount(blocked) || startMs % SPAN_LENGTHS[kind] !== 0)
      return undefined
    const distinct = typeof unique === 'string' ? HyperLogLog.fromText(unique) : undefined
    if (distinct === undefined || !LISTS.every(list => isFrequent(lists[list]))) return undefined
    const made = new SpanSummary(kind, startMs)
    made.total = total
    made.blocked = blocked
    made.unique.merge(distinct)
    for (const list of LISTS) made[list].merge(lists[list]!)
    return made
  }
}

/** Returns the start of the span that contains a time. */
export function spanStart(kind: SpanKind, atMs: number): number {
  return atMs - (atMs % SPAN_LENGTHS[kind])
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isFrequent(value: unknown): value is SerializedHeavyHitters {
  if (typeof value !== 'object' || value === null) return false
  const { error, least } = value as Partial<SerializedHeavyHitters>
  if (!isCount(error) || !Array.isArray(least) || least.length > MAX_SIZES.analyticsNames) return false
  return least.every(each => Array.isArray(each) && typeof each[0] === 'string' && isCount(each[1]))
}
