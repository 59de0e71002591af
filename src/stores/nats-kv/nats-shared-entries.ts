import { systemClock } from '../../core/clock.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { EphemeralEntries, SharedEntries, SharedEntriesWatch, SharedEntry } from '../shared-entries.ts'
import { bucketConfig, checkDurableBucket } from './bucket.ts'
import { deadlineIn, type NatsConnectionWrapper } from './connection-wrapper.ts'
import type { JetStreamApi, StoredMessage, StreamConfig, StreamInfo } from './jetstream-api-client.ts'
import { ManagedStream } from './stream.ts'
import { encodeToken } from './subject-names.ts'

export interface SharedEntriesSettings {
  readonly bucket: string
  readonly storage: 'file' | 'memory'
  readonly replicas: number
  readonly timeoutMs: number
}

/** Content of a subject: an entry, a removal marker, or a message of another version. */
interface Known {
  readonly seq: number
  readonly isRemoved: boolean
  readonly atMs: number
  readonly entry: SharedEntry | undefined
}

const NOTHING = new Uint8Array(0)
/** Delay before expired entries and removal markers are purged, because clocks of nodes may differ. */
const GRACE_MS = 60_000
/** Maximum concurrent reads or purges, and purges per pass. */
const MAX_CONCURRENT = 64
const PURGED_PER_PASS = 1_024
/** Maximum messages: entries of all kinds and as many removal markers. */
const MAX_MESSAGES = 8 * MAX_SIZES.sharedEntries

/**
 * Stores runtime entries of all nodes in a separate bucket beside that of the counters, with a key per entry and no
 * expiry. Subscribers to its subjects learn of changes at once; a read fetches only newer messages.
 */
export class NatsSharedEntries implements SharedEntries {
  readonly #link: NatsConnectionWrapper
  readonly #jetstream: JetStreamApi
  readonly #settings: SharedEntriesSettings
  readonly #stream: ManagedStream
  readonly #timeoutMs: number
  readonly #subjects: string
  /** Known messages by subject, for the stream created at `#streamCreated`, up to a sequence. */
  readonly #known = new Map<string, Known>()
  #streamCreated = ''
  #reading: Promise<unknown> = Promise.resolve()
  #lastSeq = 0

  constructor(link: NatsConnectionWrapper, jetstream: JetStreamApi, settings: SharedEntriesSettings) {
    this.#link = link
    this.#jetstream = jetstream
    this.#settings = settings
    this.#timeoutMs = settings.timeoutMs
    const { bucket } = settings
    this.#subjects = `$KV.${bucket}`
    const desiredConfig = (): StreamConfig => bucketConfig({ ...settings, ttlMs: 0, maxKeys: MAX_MESSAGES })
    this.#stream = new ManagedStream(jetstream, desiredConfig, found => {
      checkDurableBucket(found, bucket)
      return found.max_age === 0 ? undefined : { ...found, max_age: 0 }
    })
  }

  put(entry: SharedEntry): Promise<void> {
    return this.#write(entry.kind, entry.id, Buffer.from(JSON.stringify(entry)), {})
  }

  remove(kind: string, id: string): Promise<void> {
    // The same deletion as by any NATS client (ADR-8), so that subscribers are notified.
    return this.#write(kind, id, NOTHING, { 'KV-Operation': 'DEL' })
  }

  async version(): Promise<string> {
    const { created, state } = await this.#fetchInfo()
    return state.last_seq === 0 ? '' : `${created} ${state.last_seq}`
  }

  /** Lists the entries. Concurrent calls share one read. */
  list(): Promise<readonly SharedEntry[]> {
    const listed = this.#reading.then(() => this.#list())
    this.#reading = listed.catch(() => {})
    return listed
  }

  /** Kept in a separate bucket, `BUCKET-KIND`, created by the first `put`. */
  ephemeral(kind: string): EphemeralEntries {
    const bucket = `${this.#settings.bucket}-${kind}`
    return new NatsSharedEntries(this.#link, this.#jetstream, { ...this.#settings, bucket })
  }

  watch(changed: () => void): SharedEntriesWatch {
    return this.#link.listen(`${this.#subjects}.>`, changed)
  }

  async #list(): Promise<readonly SharedEntry[]> {
    const info = await this.#fetchInfo()
    await this.#readNewer(info)
    // Another node or an operator purged a message without a marker.
    if (this.#known.size !== info.state.messages) {
      this.#forget()
      await this.#readNewer(await this.#fetchInfo())
    }
    await this.#clean()
    const inOrder = [...this.#known.values()].sort((one, other) => one.seq - other.seq)
    return inOrder.flatMap(({ entry }) => entry ?? [])
  }

  async #write(
    kind: string,
    id: string,
    data: Uint8Array,
    fields: Readonly<Record<string, string>>,
  ): Promise<void> {
    const subject = `${this.#subjects}.${encodeToken(kind)}.${encodeToken(id)}`
    const deadlineMs = deadlineIn(this.#timeoutMs)
    await this.#stream.use(deadlineMs, () => this.#jetstream.publish(subject, data, fields, deadlineMs))
  }

  #fetchInfo(): Promise<StreamInfo> {
    const deadlineMs = deadlineIn(this.#timeoutMs)
    return this.#stream.use(deadlineMs, () => this.#stream.info(deadlineMs))
  }

  #forget(): void {
    this.#known.clear()
    this.#lastSeq = 0
  }

  /** Reads newer messages, or all if the stream was recreated. */
  async #readNewer({ created, state: { last_seq: lastSeq } }: StreamInfo): Promise<void> {
    if (created !== this.#streamCreated || lastSeq < this.#lastSeq) this.#forget()
    this.#streamCreated = created
    const first = this.#lastSeq + 1
    const readers = Math.min(MAX_CONCURRENT, lastSeq - this.#lastSeq)
    const span = Math.ceil((lastSeq - this.#lastSeq) / readers)
    const starts = Array.from({ length: readers }, (_, senderQueue) => first + senderQueue * span)
    const gaps = await Promise.all(
      starts.map(start => this.#readSpan(start, Math.min(start + span - 1, lastSeq))),
    )
    this.#lastSeq = lastSeq
    // Missing messages were replaced, perhaps during this read; the new ones have higher sequences.
    if (gaps.includes(true)) await this.#readGaps()
  }

  /** Reads a span of sequences; returns true if one was missing before others. */
  async #readSpan(first: number, last: number): Promise<boolean> {
    let hasGap = false
    for (let seq = first; seq <= last; ) {
      const found = await this.#readNext(seq)
      if (found === undefined) return hasGap
      hasGap ||= found > seq
      seq = found + 1
    }
    return hasGap
  }

  async #readGaps(): Promise<void> {
    for (let count = 0; count < MAX_CONCURRENT; count++) {
      const found = await this.#readNext(this.#lastSeq + 1)
      if (found === undefined) return
      this.#lastSeq = found
    }
  }

  /** Reads the message at or after a sequence; returns its sequence. */
  async #readNext(seq: number): Promise<number | undefined> {
    const which = { seq, next_by_subj: `${this.#subjects}.>` }
    const found = await this.#jetstream.message(this.#stream.name, which, deadlineIn(this.#timeoutMs))
    if (found === undefined) return undefined
    const old = this.#known.get(found.subject)
    if (old === undefined || old.seq < found.seq) this.#known.set(found.subject, readMessage(found))
    return found.seq
  }

  /** Purges expired entries, best effort; any node's next pass removes the rest. */
  async #clean(): Promise<void> {
    const longAgoMs = systemClock.now() - GRACE_MS
    const isExpired = ({ isRemoved, atMs, entry }: Known): boolean =>
      isRemoved ? atMs <= longAgoMs : (entry?.expiresAtMs ?? Infinity) <= longAgoMs
    const expired = [...this.#known].filter(([, known]) => isExpired(known)).slice(0, PURGED_PER_PASS)
    for (let first = 0; first < expired.length; first += MAX_CONCURRENT) {
      const some = expired.slice(first, first + MAX_CONCURRENT)
      const purged = await Promise.allSettled(
        some.map(([subject, { seq }]) => this.#stream.purge(subject, deadlineIn(this.#timeoutMs), seq + 1)),
      )
      purged.forEach(({ status }, index) => {
        if (status === 'fulfilled') this.#known.delete(some[index]![0])
      })
    }
  }
}

function readMessage({ seq, data, timeMs: atMs }: StoredMessage): Known {
  return { seq, isRemoved: data.length === 0, atMs, entry: parseEntry(data) }
}

/** Returns undefined for an invalid entry, which another version or an operator may have written. */
function parseEntry(data: Uint8Array): SharedEntry | undefined {
  try {
    const { kind, id, json, expiresAtMs } = JSON.parse(new TextDecoder().decode(data)) as SharedEntry
    if (typeof kind !== 'string' || typeof id !== 'string' || typeof json !== 'string') return undefined
    return { kind, id, json, expiresAtMs: typeof expiresAtMs === 'number' ? expiresAtMs : undefined }
  } catch {
    return undefined
  }
}
