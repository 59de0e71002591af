import type { Limit } from '../../algorithms/limit.ts'
import { StoreError } from '../../core/errors.ts'
import {
  apiError,
  type JetStream,
  NO_MESSAGE,
  NO_STREAM,
  NOT_STORED,
  type StreamConfig,
} from './jetstream.ts'
import { NS, Stream } from './stream.ts'
import { encodeToken } from './subject-names.ts'

export interface StrictSettings {
  readonly bucket: string
  readonly storage: 'file' | 'memory'
  readonly replicas: number
  readonly maxUnits: number
}

/** Units that were taken: messages of a stream, by their sequences. */
export interface Taken {
  readonly stream: string
  readonly sequences: readonly number[]
}

const NOTHING = new Uint8Array(0)
/** Publishes of one charge under way at once. */
const AT_ONCE = 64
/** Messages that are walked along to find the one which makes room; a wait beyond is told as that of the newest. */
const LONGEST_WALK = 32
const LONGEST_DEDUPLICATION_MS = 120_000

/**
 * Streams of which each counts a rule: `max_msgs_per_subject` is the count, `max_age` the window, and what is above it is
 * refused instead of making room (ADR-8 and `discard_new_per_subject` of the server, from 2.9 on).
 */
export class StrictStreams {
  readonly #jetstream: JetStream
  readonly #settings: StrictSettings
  readonly #streams = new Map<string, { readonly limit: Limit; readonly stream: Stream }>()

  constructor(jetstream: JetStream, settings: StrictSettings) {
    this.#jetstream = jetstream
    this.#settings = settings
  }

  subjectOf(rule: string, key: string): string {
    return `${this.#subjects(encodeToken(rule))}.${encodeToken(key)}`
  }

  /** Stores a message for each unit. Undefined where they do not all fit: then none is taken. */
  async take(limit: Limit, key: string, units: number, deadlineMs: number): Promise<Taken | undefined> {
    const stream = this.#stream(limit)
    const subject = this.subjectOf(limit.name, key)
    const sequences: number[] = []
    await stream.prepare(deadlineMs)
    for (let left = units; left > 0; left -= AT_ONCE) {
      const publishes = Array.from({ length: Math.min(left, AT_ONCE) }, () =>
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

  /** Takes exactly these units back. */
  async remove(taken: readonly Taken[], deadlineMs: number): Promise<void> {
    const sequences = taken.flatMap(({ stream, sequences }) => sequences.map(seq => [stream, seq] as const))
    await Promise.all(sequences.map(([stream, seq]) => this.#delete(stream, seq, deadlineMs)))
  }

  /** Gives back so many units of a key, the newest first. */
  async giveBack(limit: Limit, key: string, units: number, deadlineMs: number): Promise<void> {
    const { name } = this.#stream(limit)
    const which = { last_by_subj: this.subjectOf(limit.name, key) }
    await this.#stream(limit).prepare(deadlineMs)
    for (let left = units; left > 0; ) {
      const newest = await this.#jetstream.message(name, which, deadlineMs)
      if (newest === undefined) return
      // Another may have given back the same one.
      if (await this.#delete(name, newest.seq, deadlineMs)) left--
    }
  }

  /** Units of a key in the window. */
  async used(limit: Limit, key: string, deadlineMs: number): Promise<number> {
    const stream = this.#stream(limit)
    const subject = this.subjectOf(limit.name, key)
    const { state } = await stream.use(deadlineMs, () => stream.info(deadlineMs, subject))
    return state.subjects?.[subject] ?? 0
  }

  /** When the newest unit of a key was taken. */
  async newestMs(limit: Limit, key: string, deadlineMs: number): Promise<number | undefined> {
    const which = { last_by_subj: this.subjectOf(limit.name, key) }
    return (await this.#jetstream.message(this.#stream(limit).name, which, deadlineMs))?.timeMs
  }

  /** When the n-th oldest unit of a key was taken; undefined for one far from the oldest, or no longer there. */
  async nthMs(limit: Limit, key: string, n: number, deadlineMs: number): Promise<number | undefined> {
    if (n > LONGEST_WALK) return undefined
    const next_by_subj = this.subjectOf(limit.name, key)
    let seq = 0
    for (let place = 1; ; place++) {
      const found = await this.#jetstream.message(
        this.#stream(limit).name,
        { seq: seq + 1, next_by_subj },
        deadlineMs,
      )
      if (found === undefined || place === n) return found?.timeMs
      seq = found.seq
    }
  }

  /** Removes what is counted of a rule, of a key, or all; returns how many keys that were. */
  async forget(rule: string | undefined, key: string | undefined, deadlineMs: number): Promise<number> {
    const end = key === undefined ? '*' : encodeToken(key)
    let count = 0
    for (const name of await this.names(rule, deadlineMs)) {
      const filter = `${this.#subjects(rule === undefined ? '*' : encodeToken(rule))}.${end}`
      const answer = await this.#jetstream.call<{ state: { subjects?: object } }>(
        `STREAM.INFO.${name}`,
        { subjects_filter: filter },
        deadlineMs,
        NO_STREAM,
      )
      if (answer.error !== undefined) continue
      count += Object.keys(answer.value.state.subjects ?? {}).length
      await this.#jetstream.call(`STREAM.PURGE.${name}`, { filter }, deadlineMs, NO_STREAM)
    }
    return count
  }

  /** The streams of this store, or of one of its rules, that there are; also those of rules other nodes have. */
  async names(rule: string | undefined, deadlineMs: number): Promise<readonly string[]> {
    const subject = `${this.#subjects(rule === undefined ? '*' : encodeToken(rule))}.*`
    const names: string[] = []
    for (;;) {
      const answer = await this.#jetstream.call<{ streams: string[] | null; total: number }>(
        'STREAM.NAMES',
        { subject, offset: names.length },
        deadlineMs,
      )
      if (answer.error !== undefined) throw apiError(answer.error)
      const { streams, total } = answer.value
      names.push(...(streams ?? []))
      if (streams === null || streams.length === 0 || names.length >= total) return names
    }
  }

  /** The sequence of a message that was stored; undefined where the subject has as many as it may have. */
  async #publish(subject: string, deadlineMs: number): Promise<number | undefined> {
    const answer = await this.#jetstream.publish(subject, NOTHING, {}, deadlineMs, NOT_STORED)
    if ('seq' in answer) return answer.seq
    // The same code is that of a full stream, which denies nobody: it is broken.
    if (/per subject/.test(answer.description)) return undefined
    throw apiError(answer)
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

  /** The stream of a rule, with the numbers that were asked for last. */
  #stream(limit: Limit): Stream {
    const held = this.#streams.get(limit.name)
    const isSame = held?.limit.count === limit.count && held.limit.periodMs === limit.periodMs
    if (held !== undefined && isSame) return held.stream
    const { bucket, storage, replicas, maxUnits } = this.#settings
    const token = encodeToken(limit.name)
    const numbers = { max_msgs_per_subject: limit.count, max_age: limit.periodMs * NS }
    const age = { duplicate_window: Math.min(limit.periodMs, LONGEST_DEDUPLICATION_MS) * NS }
    const wanted: StreamConfig = {
      ...{ name: `TOPICGATE_${bucket}_${token}`, subjects: [`${this.#subjects(token)}.*`] },
      ...{ retention: 'limits', discard: 'new', discard_new_per_subject: true, ...numbers, ...age },
      ...{ max_msgs: maxUnits, max_bytes: -1, storage, num_replicas: replicas },
    }
    const settle = (found: StreamConfig): StreamConfig | undefined => {
      const isStrict = found.discard === 'new' && found.discard_new_per_subject === true
      // Servers drop old messages for the sake of max_bytes whatever is said about new ones.
      if (!isStrict || (found.max_bytes ?? -1) > 0) {
        const remedy = 'delete it: it is made anew as it must be'
        throw new StoreError(`nats: the stream ${found.name} makes room instead of refusing (${remedy})`)
      }
      const isRight =
        found.max_msgs_per_subject === numbers.max_msgs_per_subject && found.max_age === numbers.max_age
      return isRight ? undefined : { ...found, ...numbers, ...age }
    }
    const stream = new Stream(this.#jetstream, () => wanted, settle)
    this.#streams.set(limit.name, { limit, stream })
    return stream
  }
}

/** What is to be deleted has gone: the answer depends on where the server keeps it. */
const NO_SEQUENCE = 10043
