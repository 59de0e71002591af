import { ALGORITHM_NAMES, type Limit, toGrains } from '../../algorithms/limit-types.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import { policyError, StoreError } from '../../core/errors.ts'
import { type Logger, SILENT } from '../../core/logger.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { MaybePromise } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { ThrottledLog } from '../../core/throttled-log.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { ShareableBackend } from '../backend-connection.ts'
import { LimitHistories } from '../persistence/limit-history-for-migration.ts'
import type { Charge, StateSelector, Store, StoreHealth, Verdict } from '../store.ts'
import { type AnyRedisClient, adaptRedisClient } from './adapt-redis-client.ts'
import { commandsOf } from './backend-commands.ts'
import { forgetKeys, pingAll } from './delete-keys.ts'
import { DenialCache } from './denial-cache.ts'
import { decideMultiSlot } from './multi-slot.ts'
import { notConnected, type RedisClient } from './redis-client-types.ts'
import { type RedisSharedEntries, redisSharedEntries } from './redis-shared-entries.ts'
import { Scripts } from './script.ts'
import {
  buildStateHeader,
  type KeyedCharge,
  PEEK,
  REFUND,
  SCRIPT_COMMIT,
  type ScriptStep,
} from './script-args.ts'
import { ScriptRunner } from './script-runner.ts'
import { findServerWarnings } from './server-warnings.ts'
import { deadlineIn, SlotPipelines } from './slot-pipeline.ts'
import { StateKeyBuilder } from './state-keys.ts'

/** Extra time to live of state if callers use their own clocks, which may differ. */
const GRACE_MS = 60_000
/** Minimum interval between warnings about an unstable connection. */
const LOG_INTERVAL_MS = 10_000

export interface RedisStoreOptions {
  /** Client of ioredis or node-redis: standalone, Sentinel or Cluster. Stays open when the store is closed. */
  readonly client: AnyRedisClient
  /** Prefix of all keys. Default: topicgate. */
  readonly prefix?: string | undefined
  /** Longest duration of a decision in milliseconds; later it is a StoreError. Default: 250. */
  readonly timeoutMs?: number | undefined
  /**
   * Time source: the server, the callers' `nowMs` (their clocks must be in step), or a given clock for calls without
   * `nowMs`. Default: server.
   */
  readonly clock?: 'server' | 'caller' | Clock | undefined
  /** Maximum number of refusals cached locally; 0 disables the cache. Default: {@link MAX_SIZES.cachedDenials}. */
  readonly denialCache?: number | undefined
  readonly logger?: Logger | undefined
}

const OPTIONS: KnownOptions<RedisStoreOptions> = {
  client: true,
  prefix: true,
  timeoutMs: true,
  clock: true,
  denialCache: true,
  logger: true,
}

export interface RedisHealth extends StoreHealth {
  /** Messages refused locally, without asking Redis. */
  readonly refusedHere: number
  /** Decisions that wait for an answer. */
  readonly pending: number
}

/**
 * State in Redis or Valkey, shared by all users of the same prefix. Sends one script call for all charges of a
 * message, and for all messages of one tick. Rejects with StoreError while Redis is unreachable; an abandoned call
 * never takes effect later.
 */
export class RedisStore implements Store {
  readonly name = 'redis'
  readonly algorithms: ReadonlySet<string> = new Set(ALGORITHM_NAMES)
  readonly sharedEntries: RedisSharedEntries
  readonly backend: ShareableBackend
  readonly #client: RedisClient
  readonly #keys: StateKeyBuilder
  readonly #scripts = new Scripts()
  readonly #histories = new LimitHistories(buildStateHeader)
  readonly #scriptRunner: ScriptRunner
  readonly #slotPipelines: SlotPipelines
  readonly #denialCache: DenialCache
  readonly #timeoutMs: number
  /** Clock of the callers; undefined if the server's time counts. */
  readonly #callerClock: Clock | undefined
  readonly #logger: Logger
  readonly #connectionErrors: ThrottledLog
  #activeWarnings: ReadonlySet<string> = new Set()
  #closed = false

  /** Throws PolicyError for an invalid option, UnsupportedError for an unknown client. */
  constructor(options: RedisStoreOptions) {
    checkOptionNames(options, OPTIONS)
    const { clock = 'server', timeoutMs = 250, denialCache = MAX_SIZES.cachedDenials } = options
    checkMinimum('timeoutMs', timeoutMs, 1)
    checkMinimum('denialCache', denialCache, 0)
    const { prefix = 'topicgate' } = options
    this.#keys = new StateKeyBuilder(prefix)
    this.#logger = options.logger ?? SILENT
    this.#connectionErrors = new ThrottledLog(systemClock, this.#logger, 'warn', LOG_INTERVAL_MS)
    this.#timeoutMs = timeoutMs
    this.#callerClock = clock === 'server' ? undefined : clock === 'caller' ? systemClock : clock
    this.#denialCache = new DenialCache(Math.min(denialCache, MAX_SIZES.cachedDenials))
    this.#client = adaptRedisClient(options.client, {
      onError: err => this.#connectionErrors.log({ err }, 'the connection to Redis is broken'),
    })
    this.sharedEntries = redisSharedEntries(this.#client, prefix, timeoutMs)
    this.backend = { kind: 'redis', commands: commandsOf(this.#client, timeoutMs), prefix }
    const graceMs = this.#callerClock === undefined ? 0 : GRACE_MS
    this.#scriptRunner = new ScriptRunner(this.#client, this.#scripts, this.#histories, timeoutMs, graceMs)
    this.#slotPipelines = new SlotPipelines(this.#scriptRunner)
  }

  refuses(limit: Limit): string | undefined {
    if (limit.custom !== undefined) return this.#scripts.refuses(limit.custom)
    return this.algorithms.has(limit.algorithm) ? undefined : `Redis has no ${limit.algorithm}`
  }

  decide(
    charges: readonly Charge[],
    options: { readonly commit: boolean; readonly nowMs?: number },
  ): MaybePromise<readonly Verdict[]> {
    if (charges.length === 0) return []
    let keyed: readonly KeyedCharge[]
    try {
      keyed = this.#toKeyedCharges(charges)
    } catch (error) {
      return Promise.reject(error)
    }
    const nowMs = this.#callerClock === undefined ? undefined : (options.nowMs ?? this.#callerClock.now())
    const deadlineMs = deadlineIn(this.#timeoutMs)
    const sentMs = nowMs ?? deadlineMs - this.#timeoutMs
    for (const { limit } of charges) this.#histories.adopt(limit, sentMs)
    if (!options.commit) return this.#enqueueStep({ kind: PEEK, charges: keyed, nowMs }, deadlineMs)
    const known = this.#denialCache.answer(keyed, sentMs)
    if (known !== undefined) return known
    return this.#enqueueStep({ kind: SCRIPT_COMMIT, charges: keyed, nowMs }, deadlineMs).then(verdicts => {
      this.#denialCache.recordRefusals(keyed, verdicts, sentMs)
      return verdicts
    })
  }

  adopt(limits: readonly Limit[], nowMs: number): void {
    // With the server's time, the activation time is sent as an age.
    const sinceMs = this.#callerClock === undefined ? systemClock.now() : nowMs
    for (const limit of limits) this.#histories.adopt(limit, sinceMs)
  }

  async refund(charges: readonly Charge[]): Promise<void> {
    if (charges.length === 0) return
    const keyed = this.#toKeyedCharges(charges)
    for (const { stateKey } of keyed) this.#denialCache.forget(stateKey)
    await this.#enqueueStep(
      { kind: REFUND, charges: keyed, nowMs: this.#callerClock?.now() },
      deadlineIn(this.#timeoutMs),
    )
  }

  /** Returns how many keys were forgotten. All but a single key are found by SCAN, which may take long. */
  async forget(selector: StateSelector): Promise<number> {
    this.#denialCache.clear()
    this.#checkOpen()
    const count = await forgetKeys(this.#client, this.#keys, selector, this.#timeoutMs)
    // Decisions made during the scan may have cached refusals of these keys.
    this.#denialCache.clear()
    return count
  }

  async health(): Promise<RedisHealth> {
    const detail = this.#closed ? 'closed' : await pingAll(this.#client, this.#timeoutMs)
    let warnings: readonly string[] = []
    if (detail === undefined) {
      const found = withTimeout(systemClock, this.#timeoutMs, () => findServerWarnings(this.#client))
      ;[warnings] = await Promise.all([found.catch(() => []), this.#scriptRunner.learnTime()])
      this.#warnOnce(warnings)
    }
    const own = {
      refusedHere: this.#denialCache.refused,
      pending: this.#slotPipelines.pending,
      clockOffsetMs: this.#scriptRunner.clockOffsetMs,
    }
    if (detail !== undefined) return { ok: false, detail, ...own }
    return warnings.length > 0 ? { ok: true, warnings, ...own } : { ok: true, ...own }
  }

  /** Logs each warning when it appears, and again after it had disappeared. */
  #warnOnce(warnings: readonly string[]): void {
    const keys = warnings.map(warning => warning.replace(/\d+/g, '#'))
    for (const [index, warning] of warnings.entries()) {
      if (!this.#activeWarnings.has(keys[index]!))
        this.#logger.warn({ store: this.name, warning }, `redis: ${warning}`)
    }
    this.#activeWarnings = new Set(keys)
  }

  /** Answers or rejects pending decisions; a client passed by the caller stays open. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#denialCache.clear()
    this.sharedEntries.close()
    await this.#client.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #enqueueStep(step: ScriptStep, deadlineMs: number): Promise<readonly Verdict[]> {
    if (this.#closed) return Promise.reject(closedError())
    if (!this.#client.isReady()) return Promise.reject(notConnected(this.#client))
    if (!this.#client.isCluster) return this.#slotPipelines.enqueue(0, step, deadlineMs)
    return decideMultiSlot(this.#slotPipelines, step, deadlineMs, err =>
      this.#logger.warn({ err }, 'charges of a refused message could not be refunded'),
    )
  }

  #toKeyedCharges(charges: readonly Charge[]): readonly KeyedCharge[] {
    if (charges.length > MAX_SIZES.redisCallCharges) {
      throw new StoreError(
        `redis: a message of ${charges.length} charges; the maximum is ${MAX_SIZES.redisCallCharges}`,
      )
    }
    return charges.map(({ limit, key, cost, soft }) => {
      if (limit.custom !== undefined) this.#addCustomAlgorithm(limit)
      return {
        stateKey: this.#keys.of(limit.name, key),
        limit,
        grains: toGrains(cost, limit),
        soft: soft === true,
      }
    })
  }

  #addCustomAlgorithm({ custom }: Limit): void {
    const refusal = this.#scripts.refuses(custom!)
    if (refusal !== undefined) throw new StoreError(`redis: ${refusal}`)
    this.#scripts.add(custom!)
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError()
  }
}

function closedError(): StoreError {
  return new StoreError('redis: the store is closed')
}

function checkMinimum(path: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return
  throw policyError(path, `${String(value)} is not a whole number of at least ${least}`)
}
