import { ALGORITHM_NAMES, type Limit } from '../../algorithms/limit-types.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import { policyError, StoreError } from '../../core/errors.ts'
import { type Logger, SILENT } from '../../core/logger.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import type { Charge, StateSelector, Store, StoreHealth, Verdict } from '../store.ts'
import { KvBucket } from './bucket.ts'
import { deadlineIn, type NatsConnection, NatsConnectionWrapper } from './connection-wrapper.ts'
import { JetStreamApi } from './jetstream-api-client.ts'
import { KvEntryUpdater } from './kv-entry-updater.ts'
import { NatsSharedEntries } from './nats-shared-entries.ts'
import { checkBucketName, checkWhole } from './subject-names.ts'

const DAY_MS = 86_400_000

export interface NatsKvStoreOptions {
  /** Connection of `nats` or `@nats-io/transport-node`, or a promise of one. */
  readonly connection: NatsConnection | Promise<NatsConnection>
  /** Called once when the store is closed, to close a connection made for this store alone. */
  readonly onClose?: (() => Promise<void>) | undefined
  /** Returns why the promised connection is not available yet. */
  readonly problem?: () => string | undefined
  /** Bucket shared by all nodes, created if missing. Default: topicgate. */
  readonly bucket?: string | undefined
  /** Longest duration of a decision in milliseconds; later it is a StoreError. Default: 250. */
  readonly timeoutMs?: number | undefined
  /** Clock of decisions; those of several nodes must be in step. Default: the machine's. */
  readonly clock?: Clock | undefined
  /**
   * Minimum time that an entry stays after its last write; raised if a window is longer than half of it. Default: a
   * day.
   */
  readonly ttlMs?: number | undefined
  /** Storage of a newly created bucket. Default: file. */
  readonly storage?: 'file' | 'memory' | undefined
  /** Number of replicas of a newly created bucket. Default: 1. */
  readonly replicas?: number | undefined
  /**
   * Maximum number of keys of a newly created bucket; further ones are a StoreError. Default: {@link
   * MAX_SIZES.natsBucketKeys}.
   */
  readonly maxKeys?: number | undefined
  /** Random source for the pauses of conflicting nodes, from 0 to below 1. Default: Math.random. */
  readonly random?: (() => number) | undefined
  readonly logger?: Logger | undefined
}

const OPTIONS: KnownOptions<NatsKvStoreOptions> = {
  connection: true,
  onClose: true,
  problem: true,
  bucket: true,
  timeoutMs: true,
  clock: true,
  ttlMs: true,
  storage: true,
  replicas: true,
  maxKeys: true,
  random: true,
  logger: true,
}

export interface NatsKvHealth extends StoreHealth {
  /** Writes that another node preceded, and pending decisions. */
  readonly conflicts: number
  readonly pending: number
}

/**
 * State in a key-value bucket of NATS JetStream, shared by all its users: an entry is read, changed locally, and
 * written if no other node has changed it. A message of several keys never passes too much: if a later key denies,
 * the earlier ones are refunded. A decision takes two round trips, so use it behind a LeasedStore. Rejects with
 * StoreError while NATS is unreachable.
 */
export class NatsKvStore implements Store {
  readonly name = 'nats-kv'
  readonly algorithms: ReadonlySet<string> = new Set(ALGORITHM_NAMES)
  readonly sharedEntries: NatsSharedEntries
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #link: NatsConnectionWrapper
  readonly #bucket: KvBucket
  readonly #entryUpdater: KvEntryUpdater
  readonly #onClose: (() => Promise<void>) | undefined
  #pending = 0
  #closed = false

  /** Throws PolicyError for an invalid option. */
  constructor(options: NatsKvStoreOptions) {
    checkOptionNames(options, OPTIONS)
    const { connection, bucket = 'topicgate', storage = 'file', logger = SILENT } = options
    if (storage !== 'file' && storage !== 'memory') throw policyError('storage', 'is not file or memory')
    this.#clock = options.clock ?? systemClock
    this.#timeoutMs = checkWhole('timeoutMs', options.timeoutMs ?? 250, 1)
    this.#link = new NatsConnectionWrapper(connection, options.problem)
    const jetstream = new JetStreamApi(this.#link)
    const replicas = checkWhole('replicas', options.replicas ?? 1, 1)
    const common = { bucket: checkBucketName(bucket), storage, replicas }
    this.sharedEntries = new NatsSharedEntries(this.#link, jetstream, {
      ...common,
      bucket: `${common.bucket}-notes`,
      timeoutMs: this.#timeoutMs,
    })
    this.#bucket = new KvBucket(jetstream, {
      ...common,
      ttlMs: checkWhole('ttlMs', options.ttlMs ?? DAY_MS, 100),
      maxKeys: checkWhole('maxKeys', options.maxKeys ?? MAX_SIZES.natsBucketKeys, 1),
    })
    this.#entryUpdater = new KvEntryUpdater(this.#bucket, options.random ?? Math.random, err =>
      logger.warn({ err }, 'charges of a refused message could not be refunded'),
    )
    this.#onClose = options.onClose
  }

  decide(
    charges: readonly Charge[],
    options: { readonly commit: boolean; readonly nowMs?: number },
  ): Promise<readonly Verdict[]> {
    const nowMs = options.nowMs ?? this.#clock.now()
    if (charges.length > MAX_SIZES.redisCallCharges) {
      const message = `nats: a message of ${charges.length} charges; the maximum is ${MAX_SIZES.redisCallCharges}`
      return Promise.reject(new StoreError(message))
    }
    return this.#withDeadline(deadlineMs =>
      this.#entryUpdater.decide(charges, options.commit, nowMs, deadlineMs),
    )
  }

  adopt(limits: readonly Limit[], nowMs: number): void {
    this.#entryUpdater.adopt(limits, nowMs)
  }

  refund(charges: readonly Charge[]): Promise<void> {
    const nowMs = this.#clock.now()
    return this.#withDeadline(deadlineMs => this.#entryUpdater.refund(charges, nowMs, deadlineMs))
  }

  /** Returns how many keys were forgotten. */
  forget({ rule, key }: StateSelector): Promise<number> {
    return this.#withDeadline(deadlineMs =>
      this.#bucket.stream.use(deadlineMs, () =>
        this.#bucket.stream.purge(this.#bucket.filterOf(rule, key), deadlineMs),
      ),
    )
  }

  async health(): Promise<NatsKvHealth> {
    const own = { conflicts: this.#entryUpdater.conflicts, pending: this.#pending }
    try {
      // Another node may have changed the bucket, so its settings are checked again.
      this.#bucket.stream.recheck()
      const { state, clockOffsetMs } = await this.#withDeadline(async deadlineMs => {
        await this.#bucket.stream.prepare(deadlineMs)
        const askedMs = systemClock.now()
        const { state: current, ts } = await this.#bucket.stream.info(deadlineMs)
        const middleMs = (askedMs + systemClock.now()) / 2
        return { state: current, clockOffsetMs: ts === undefined ? undefined : Date.parse(ts) - middleMs }
      })
      return { ok: true, ...own, clockOffsetMs, detail: `${state.messages} keys, ${state.bytes} bytes` }
    } catch (error) {
      return { ok: false, ...own, detail: (error as Error).message }
    }
  }

  /** Answers pending decisions; a connection passed by the caller stays open. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#link.endListening()
    await this.#onClose?.()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #withDeadline<T>(work: (deadlineMs: number) => Promise<T>): Promise<T> {
    if (this.#closed) throw new StoreError('nats: the store is closed (open another)')
    if (!this.#link.isUp) throw this.#link.notConnected()
    if (this.#pending >= MAX_SIZES.pendingStoreDecisions) {
      throw new StoreError(
        `nats: ${MAX_SIZES.pendingStoreDecisions} decisions are already waiting for an answer`,
      )
    }
    this.#pending++
    try {
      return await work(deadlineIn(this.#timeoutMs))
    } finally {
      this.#pending--
    }
  }
}
