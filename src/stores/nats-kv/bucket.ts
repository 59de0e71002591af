import { StoreError } from '../../core/errors.ts'
import { type JetStreamApi, type StreamConfig, WRONG_SEQUENCE } from './jetstream-api-client.ts'
import { ManagedStream, NS_PER_MS } from './stream.ts'
import { encodeToken } from './subject-names.ts'

export interface KvBucketSettings {
  readonly bucket: string
  /** Minimum time that an entry stays after its last write. */
  readonly ttlMs: number
  readonly storage: 'file' | 'memory'
  readonly replicas: number
  readonly maxKeys: number
}

/** Value of a key and its revision, which is 0 if there is no value. */
export interface StoredValue {
  readonly revision: number
  readonly data: Uint8Array | undefined
}

const EXPECTED = 'Nats-Expected-Last-Subject-Sequence'
const LONGEST_TTL_MS = 20 * 366 * 86_400_000

/**
 * Key-value bucket of NATS (ADR-8 of NATS: the stream `KV_bucket`, a message per key), created if missing. A write
 * replaces exactly the revision that was read, or fails.
 */
export class KvBucket {
  readonly stream: ManagedStream
  readonly #settings: KvBucketSettings
  readonly #jetstream: JetStreamApi
  #ttlMs: number

  constructor(jetstream: JetStreamApi, settings: KvBucketSettings) {
    this.#jetstream = jetstream
    this.#settings = settings
    this.#ttlMs = settings.ttlMs
    this.stream = new ManagedStream(
      jetstream,
      () => this.#desiredConfig(),
      found => this.#configChange(found),
    )
  }

  subjectOf(rule: string, key: string): string {
    return `$KV.${this.#settings.bucket}.${encodeToken(rule)}.${encodeToken(key)}`
  }

  /** Returns the subject filter of all keys of a rule, of a key in all rules, or of all. */
  filterOf(rule: string | undefined, key: string | undefined): string {
    const of = (text: string | undefined): string => (text === undefined ? '*' : encodeToken(text))
    return `$KV.${this.#settings.bucket}.${of(rule)}.${of(key)}`
  }

  async read(subject: string, deadlineMs: number): Promise<StoredValue> {
    const found = await this.#jetstream.message(this.stream.name, { last_by_subj: subject }, deadlineMs)
    // A key deleted by hand has an empty message.
    return { revision: found?.seq ?? 0, data: found?.data.length ? found.data : undefined }
  }

  /** Writes a value; returns false if another node has changed the key. */
  async write(subject: string, data: Uint8Array, revision: number, deadlineMs: number): Promise<boolean> {
    const fields = { [EXPECTED]: revision }
    return 'seq' in (await this.#jetstream.publish(subject, data, fields, deadlineMs, WRONG_SEQUENCE))
  }

  /**
   * Extends the bucket's time to live to twice `ms`, because clocks may differ. Rejects with StoreError if the bucket
   * may not be changed.
   */
  async keepFor(ms: number, deadlineMs: number): Promise<void> {
    if (this.#ttlMs === 0 || 2 * ms <= this.#ttlMs) return
    // Doubled, so that a policy of many windows changes the bucket only a few times.
    let ttlMs = this.#ttlMs
    while (ttlMs < 2 * ms && ttlMs <= LONGEST_TTL_MS) ttlMs *= 2
    this.#ttlMs = ttlMs > LONGEST_TTL_MS ? 0 : ttlMs
    this.stream.recheck()
    await this.stream.prepare(deadlineMs)
  }

  #desiredConfig(): StreamConfig {
    return bucketConfig({ ...this.#settings, ttlMs: this.#ttlMs })
  }

  #configChange(found: StreamConfig): StreamConfig | undefined {
    checkDurableBucket(found, this.#settings.bucket)
    const foundMs = (found.max_age ?? 0) / NS_PER_MS
    const isLongEnough = foundMs === 0 || (this.#ttlMs !== 0 && foundMs >= this.#ttlMs)
    if (!isLongEnough) return { ...found, max_age: this.#ttlMs * NS_PER_MS }
    this.#ttlMs = foundMs
    return undefined
  }
}

/** Returns the stream configuration of a bucket, as any NATS client would create it; a `ttlMs` of 0 means forever. */
export function bucketConfig({ bucket, ttlMs, storage, replicas, maxKeys }: KvBucketSettings): StreamConfig {
  const options = { deny_delete: true, allow_rollup_hdrs: true, allow_direct: true, max_consumers: -1 }
  return {
    name: `KV_${bucket}`,
    subjects: [`$KV.${bucket}.>`],
    retention: 'limits',
    discard: 'new',
    max_msgs_per_subject: 1,
    max_msgs: maxKeys,
    max_bytes: -1,
    max_age: ttlMs * NS_PER_MS,
    storage,
    num_replicas: replicas,
    ...options,
  }
}

/** Throws StoreError for a bucket that may lose entries. */
export function checkDurableBucket(found: StreamConfig, bucket: string): void {
  const problem = problemOf(found, `$KV.${bucket}.>`)
  if (problem === undefined) return
  const remedy = 'use another bucket, or delete this one: it is then created with the right settings'
  throw new StoreError(`nats: the bucket ${bucket} ${problem} (${remedy})`)
}

/** Returns the setting that makes counts vanish or fail to be written. */
function problemOf(found: StreamConfig, subject: string): string | undefined {
  if (found.mirror !== undefined) return 'is a mirror, which cannot be written'
  if (!found.subjects?.includes(subject)) return 'is a stream of other subjects'
  if (found.retention !== 'limits') return `keeps its entries by ${found.retention}, not by limits`
  if (found.max_msgs_per_subject !== 1) return 'keeps a history of its keys'
  if (found.deny_purge === true) return 'forbids to purge keys'
  // Servers drop old messages beyond max_bytes even if the bucket is set to refuse new ones.
  if ((found.max_bytes ?? -1) > 0) return 'forgets old keys when it is full (max_bytes)'
  const isForgetful = (found.max_msgs ?? -1) > 0 && found.discard !== 'new'
  return isForgetful ? 'forgets old keys when it is full (discard: old)' : undefined
}
