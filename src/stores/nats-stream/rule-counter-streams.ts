import type { Limit } from '../../algorithms/limit-types.ts'
import { StoreError } from '../../core/errors.ts'
import {
  convertApiError,
  type JetStreamApi,
  NO_MESSAGE,
  NOT_STORED_CODE,
  STREAM_NOT_FOUND_CODE,
  type StreamConfig,
} from '../nats-kv/jetstream-api-client.ts'
import { ManagedStream, NS_PER_MS } from '../nats-kv/stream.ts'
import { encodeToken } from '../nats-kv/subject-names.ts'

export interface RuleCounterSettings {
  readonly bucket: string
  readonly storage: 'file' | 'memory'
  readonly replicas: number
  readonly maxUnits: number
}

/** Units taken: messages of a stream, by sequence. */
export interface Taken {
  readonly stream: string
  readonly sequences: readonly number[]
}

const NOTHING = new Uint8Array(0)
/** Maximum concurrent publishes of one charge. */
const MAX_CONCURRENT = 64
/** Maximum messages read to find the one whose expiry frees a unit; a longer wait is reported as that of the newest. */
const MAX_READ_MESSAGES = 32
const LONGEST_DEDUPLICATION_MS = 120_000

/**
 * Streams that each count one rule: `max_msgs_per_subject` is the count, `max_age` the window. Messages above the
 * count are refused (ADR-8 and `discard_new_per_subject` of the server, from 2.9 on).
 */
export class RuleCounterStreams {
  readonly #jetstream: JetStreamApi
  readonly #settings: RuleCounterSettings
  readonly #streams = new Map<string, { readonly limit: Limit; readonly stream: ManagedStream }>()

  constructor(jetstream: JetStreamApi, settings: RuleCounterSettings) {
    this.#jetstream = jetstream
    this.#settings = settings
  }

  subjectOf(rule: string, key: string): string {
    return `${this.#subjects(encodeToken(rule))}.${encodeToken(key)}`
  }

  /** Stores a message per unit. Returns undefined if they do not all fit; then none is taken. */
  async take(limit: Limit, key: string, units: number, deadlineMs: number): Promise<Taken | undefined> {
    const stream = this.#stream(limit)
    const subject = this.subjectOf(limit.name, key)
    const sequences: number[] = []
    await stream.prepare(deadlineMs)
    for (let left = units; left > 0; left -= MAX_CONCURRENT) {
      const publishes = Array.from({ length: Math.min(left, MAX_CONCURRENT) }, () =>
        this.#publish(subject, deadlineMs),
      )
      const answers = await Promise.allSettled(publishes)
      for (const answer of answers) {
        if (answer.status === 'fulfilled' && answer.value !== undefined) sequences.push(answer.value)
      }
      const failed = answers.find(({ status }) => status === 'rejected')
      const isFull = answers.some(answer => answer.status === 'fulfilled' && answer.value === undefined)
      if (failed === undefined && !isFull) continue
      if (failed !== undefined) stream.recheck()
      await this.remove([{ stream: stream.name, sequences }], deadlineMs)
      if (failed?.status === 'rejected') throw failed.reason
      return undefined
    }
    return { stream: stream.name, sequences }
  }

  /** Removes exactly these units. */
  async remove(taken: readonly Taken[], deadlineMs: number): Promise<void> {
    const sequences = taken.flatMap(({ stream, sequences }) => sequences.map(seq => [stream, seq] as const))
    await Promise.all(sequences.map(([stream, seq]) => this.#delete(stream, seq, deadlineMs)))
  }

  /** Returns this many units of a key, the newest first. */
  async giveBack(limit: Limit, key: string, units: number, deadlineMs: number): Promise<void> {
    const { name } = this.#stream(limit)
    const which = { last_by_subj: this.subjectOf(limit.name, key) }
    await this.#stream(limit).prepare(deadlineMs)
    for (let left = units; left > 0; ) {
      const newest = await this.#jetstream.message(name, which, deadlineMs)
      if (newest === undefined) return
      // Another node may have returned the same one.
      if (await this.#delete(name, newest.seq, deadlineMs)) left--
    }
  }

  /** Returns the units of a key in the window. */
  async used(limit: Limit, key: string, deadlineMs: number): Promise<number> {
    const stream = this.#stream(limit)
    const subject = this.subjectOf(limit.name, key)
    const { state } = await stream.use(deadlineMs, () => stream.info(deadlineMs, subject))
    return state.subjects?.[subject] ?? 0
  }

  /** Returns the time of the newest unit of a key. */
  async newestMs(limit: Limit, key: string, deadlineMs: number): Promise<number | undefined> {
    const which = { last_by_subj: this.subjectOf(limit.name, key) }
    return (await this.#jetstream.message(this.#stream(limit).name, which, deadlineMs))?.timeMs
  }

  /** Returns the time of the n-th oldest unit of a key; undefined if it is too far from the oldest or gone. */
  async nthMs(limit: Limit, key: string, n: number, deadlineMs: number): Promise<number | undefined> {
    if (n > MAX_READ_MESSAGES) return undefined
    const next_by_subj = this.subjectOf(limit.name, key)
    let seq = 0
    for (let rank = 1; ; rank++) {
      const found = await this.#jetstream.message(
        this.#stream(limit).name,
        { seq: seq + 1, next_by_subj },
        deadlineMs,
      )
      if (found === undefined || rank === n) return found?.timeMs
      seq = found.seq
    }
  }

  /** Forgets the units of a rule, of a key, or all; returns how many keys. */
  async forget(rule: string | undefined, key: string | undefined, deadlineMs: number): Promise<number> {
    const end = key === undefined ? '*' : encodeToken(key)
    let count = 0
    for (const name of await this.names(rule, deadlineMs)) {
      const filter = `${this.#subjects(rule === undefined ? '*' : encodeToken(rule))}.${end}`
      const answer = await this.#jetstream.call<{ state: { subjects?: object } }>(
        `STREAM.INFO.${name}`,
        { subjects_filter: filter },
        deadlineMs,
        STREAM_NOT_FOUND_CODE,
      )
      if (answer.error !== undefined) continue
      count += Object.keys(answer.value.state.subjects ?? {}).length
      await this.#jetstream.call(`STREAM.PURGE.${name}`, { filter }, deadlineMs, STREAM_NOT_FOUND_CODE)
    }
    return count
  }

  /** Returns the existing streams of this store or of one rule, including rules of other nodes. */
  async names(rule: string | undefined, deadlineMs: number): Promise<readonly string[]> {
    const subject = `${this.#subjects(rule === undefined ? '*' : encodeToken(rule))}.*`
    const names: string[] = []
    for (;;) {
      const answer = await this.#jetstream.call<{ streams: string[] | null; total: number }>(
        'STREAM.NAMES',
        { subject, offset: names.length },
        deadlineMs,
      )
      if (answer.error !== undefined) throw convertApiError(answer.error)
      const { streams, total } = answer.value
      names.push(...(streams ?? []))
      if (streams === null || streams.length === 0 || names.length >= total) return names
    }
  }

  /** Stores a message; returns its sequence, or undefined if the subject is full. */
  async #publish(subject: string, deadlineMs: number): Promise<number | undefined> {
    const answer = await this.#jetstream.publish(subject, NOTHING, {}, deadlineMs, NOT_STORED_CODE)
    if ('seq' in answer) return answer.seq
    // A full stream has the same code, but it is a fault, not a denial.
    if (/per subject/.test(answer.description)) return undefined
    throw convertApiError(answer)
  }

  async #delete(stream: string, seq: number, deadlineMs: number): Promise<boolean> {
    const body = { seq, no_erase: true }
    const answer = await this.#jetstream.call(
      ...([`STREAM.MSG.DELETE.${stream}`, body, deadlineMs, NO_MESSAGE, NO_SEQUENCE] as const),
    )
    return answer.error === undefined
  }

  #subjects(ruleToken: string): string {
    return `topicgate.${this.#settings.bucket}.${ruleToken}`
  }

  /** Returns the stream of a rule, with the latest numbers. */
  #stream(limit: Limit): ManagedStream {
    const held = this.#streams.get(limit.name)
    const isSame = held?.limit.count === limit.count && held.limit.periodMs === limit.periodMs
    if (held !== undefined && isSame) return held.stream
    const { bucket, storage, replicas, maxUnits } = this.#settings
    const token = encodeToken(limit.name)
    const numbers = { max_msgs_per_subject: limit.count, max_age: limit.periodMs * NS_PER_MS }
    const age = { duplicate_window: Math.min(limit.periodMs, LONGEST_DEDUPLICATION_MS) * NS_PER_MS }
    const desiredConfig: StreamConfig = {
      name: `TOPICGATE_${bucket}_${token}`,
      subjects: [`${this.#subjects(token)}.*`],
      retention: 'limits',
      discard: 'new',
      discard_new_per_subject: true,
      ...numbers,
      ...age,
      max_msgs: maxUnits,
      max_bytes: -1,
      storage,
      num_replicas: replicas,
    }
    const configChange = (found: StreamConfig): StreamConfig | undefined => {
      const isStrict = found.discard === 'new' && found.discard_new_per_subject === true
      // Servers drop old messages beyond max_bytes, whatever the setting for new ones.
      if (!isStrict || (found.max_bytes ?? -1) > 0) {
        const remedy = 'delete it: it is then created with the right settings'
        throw new StoreError(
          `nats: the stream ${found.name} drops old messages instead of refusing new ones (${remedy})`,
        )
      }
      const isRight =
        found.max_msgs_per_subject === numbers.max_msgs_per_subject && found.max_age === numbers.max_age
      return isRight ? undefined : { ...found, ...numbers, ...age }
    }
    const stream = new ManagedStream(this.#jetstream, () => desiredConfig, configChange)
    this.#streams.set(limit.name, { limit, stream })
    return stream
  }
}

/** Error code of a deletion whose message is already gone; depends on the server's storage. */
const NO_SEQUENCE = 10043
