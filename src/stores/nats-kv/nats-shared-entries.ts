import { systemClock } from '../../core/clock.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { EphemeralEntries, SharedEntries, SharedEntriesWatch, SharedEntry } from '../shared-entries.ts'
import { bucketConfig, checkLasting } from './bucket.ts'
import { deadlineIn, type Link } from './connection.ts'
import type { JetStream, StoredMessage, StreamConfig, StreamInfo } from './jetstream.ts'
import { Stream } from './stream.ts'
import { encodeToken } from './subject-names.ts'

export interface SharedEntriesSettings {
  readonly bucket: string
  readonly storage: 'file' | 'memory'
  readonly replicas: number
  readonly timeoutMs: number
}

/** What stands under a subject: a note, the mark of one that was removed, or what another version has written. */
interface Known {
  readonly seq: number
  readonly isMark: boolean
  readonly atMs: number
  readonly note: SharedEntry | undefined
}

const NOTHING = new Uint8Array(0)
/** What has ended, or was removed, is taken out this long afterwards: clocks of nodes may stand apart. */
const GRACE_MS = 60_000
/** Messages asked for, or taken out, at the same time; and taken out by one look. */
const AT_ONCE = 64
const TAKEN_OUT_AT_ONCE = 1_024
/** Notes of all kinds, and the marks of as many that were removed. */
const MOST_MESSAGES = 8 * MAX_SIZES.sharedEntries

/**
 * What the nodes of one store tell each other: a bucket of its own beside that of the counts, with a key for each note and
 * no end to its entries. Whoever listens to its subjects hears of a change at once; what is read is only what is newer
 * than what was read before.
 */
export class NatsSharedEntries implements SharedEntries {
  readonly #link: Link
  readonly #jetstream: JetStream
  readonly #settings: SharedEntriesSettings
  readonly #stream: Stream
  readonly #timeoutMs: number
  readonly #subjects: string
  /** What was read, by subject, of the stream made at the time that is kept, up to a sequence. */
  readonly #known = new Map<string, Known>()
  #created = ''
  #reading: Promise<unknown> = Promise.resolve()
  #readTo = 0

  constructor(link: Link, jetstream: JetStream, settings: SharedEntriesSettings) {
    this.#link = link
    this.#jetstream = jetstream
    this.#settings = settings
    this.#timeoutMs = settings.timeoutMs
    const { bucket } = settings
    this.#subjects = `$KV.${bucket}`
    const wanted = (): StreamConfig => bucketConfig({ ...settings, ttlMs: 0, maxKeys: MOST_MESSAGES })
    this.#stream = new Stream(jetstream, wanted, found => {
      checkLasting(found, bucket)
      return found.max_age === 0 ? undefined : { ...found, max_age: 0 }
    })
  }

  put(note: SharedEntry): Promise<void> {
    return this.#write(note.kind, note.id, Buffer.from(JSON.stringify(note)), {})
  }

  remove(kind: string, id: string): Promise<void> {
    // As any client of NATS deletes a key (ADR-8): those who listen hear of it.
    return this.#write(kind, id, NOTHING, { 'KV-Operation': 'DEL' })
  }

  async version(): Promise<string> {
    const { created, state } = await this.#look()
    return state.last_seq === 0 ? '' : `${created} ${state.last_seq}`
  }

  /** One reading at a time: what one has read, the next need not. */
  list(): Promise<readonly SharedEntry[]> {
    const listed = this.#reading.then(() => this.#list())
    this.#reading = listed.catch(() => {})
    return listed
  }

  /** In a bucket of their own, `BUCKET-KIND`, made when one is first put. */
  ephemeral(kind: string): EphemeralEntries {
    const bucket = `${this.#settings.bucket}-${kind}`
    return new NatsSharedEntries(this.#link, this.#jetstream, { ...this.#settings, bucket })
  }

  watch(changed: () => void): SharedEntriesWatch {
    return this.#link.listen(`${this.#subjects}.>`, changed)
  }

  async #list(): Promise<readonly SharedEntry[]> {
    const info = await this.#look()
    await this.#readOn(info)
    // Something was taken out by another node, or by hand, and left no mark.
    if (this.#known.size !== info.state.messages) {
      this.#forget()
      await this.#readOn(await this.#look())
    }
    await this.#clean()
    const inOrder = [...this.#known.values()].sort((one, other) => one.seq - other.seq)
    return inOrder.flatMap(({ note }) => note ?? [])
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

  #look(): Promise<StreamInfo> {
    const deadlineMs = deadlineIn(this.#timeoutMs)
    return this.#stream.use(deadlineMs, () => this.#stream.info(deadlineMs))
  }

  #forget(): void {
    this.#known.clear()
    this.#readTo = 0
  }

  /** Reads what is newer than what was read; all where it is another stream. */
  async #readOn({ created, state: { last_seq: lastSeq } }: StreamInfo): Promise<void> {
    if (created !== this.#created || lastSeq < this.#readTo) this.#forget()
    this.#created = created
    const first = this.#readTo + 1
    const lanes = Math.min(AT_ONCE, lastSeq - this.#readTo)
    const span = Math.ceil((lastSeq - this.#readTo) / lanes)
    const starts = Array.from({ length: lanes }, (_, senderQueue) => first + senderQueue * span)
    const gaps = await Promise.all(
      starts.map(start => this.#readSpan(start, Math.min(start + span - 1, lastSeq))),
    )
    this.#readTo = lastSeq
    // What is missing was said anew: perhaps while this was read, and so stands behind all that was.
    if (gaps.includes(true)) await this.#readBehind()
  }

  /** Whether something was missing that others follow. */
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

  async #readBehind(): Promise<void> {
    for (let count = 0; count < AT_ONCE; count++) {
      const found = await this.#readNext(this.#readTo + 1)
      if (found === undefined) return
      this.#readTo = found
    }
  }

  /** Reads what stands at a sequence or next behind it, and says where that was. */
  async #readNext(seq: number): Promise<number | undefined> {
    const which = { seq, next_by_subj: `${this.#subjects}.>` }
    const found = await this.#jetstream.message(this.#stream.name, which, deadlineIn(this.#timeoutMs))
    if (found === undefined) return undefined
    const old = this.#known.get(found.subject)
    if (old === undefined || old.seq < found.seq) this.#known.set(found.subject, readMessage(found))
    return found.seq
  }

  /** Best effort: what stays is taken out by the next look of any node. */
  async #clean(): Promise<void> {
    const longAgoMs = systemClock.now() - GRACE_MS
    const isOver = ({ isMark, atMs, note }: Known): boolean =>
      isMark ? atMs <= longAgoMs : (note?.expiresAtMs ?? Infinity) <= longAgoMs
    const over = [...this.#known].filter(([, known]) => isOver(known)).slice(0, TAKEN_OUT_AT_ONCE)
    for (let first = 0; first < over.length; first += AT_ONCE) {
      const some = over.slice(first, first + AT_ONCE)
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
  return { seq, isMark: data.length === 0, atMs, note: readNote(data) }
}

/** Undefined for what is none: another version, or an operator, may have written it. */
function readNote(data: Uint8Array): SharedEntry | undefined {
  try {
    const { kind, id, json, expiresAtMs } = JSON.parse(new TextDecoder().decode(data)) as SharedEntry
    if (typeof kind !== 'string' || typeof id !== 'string' || typeof json !== 'string') return undefined
    return { kind, id, json, ...(typeof expiresAtMs === 'number' ? { expiresAtMs } : {}) }
  } catch {
    return undefined
  }
}
