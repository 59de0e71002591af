import { ALGORITHMS, type Limit, toGrains } from '../../algorithms/limit.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import { policyError, StoreError } from '../../core/errors.ts'
import { type Logger, SILENT } from '../../core/logger.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { MaybePromise } from '../../core/message.ts'
import { checkOptionNames, type OptionNames } from '../../core/option-names.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { Backend } from '../backend.ts'
import { Histories } from '../persistence/limit-history.ts'
import type { Charge, Selector, Store, StoreHealth, Verdict } from '../store.ts'
import { notConnected, type RedisClient } from './client.ts'
import { type AnyRedisClient, adapt } from './client-adapter.ts'
import { commandsOf } from './commands.ts'
import { forgetKeys, pingAll } from './delete-keys.ts'
import { DenialCache } from './denial-cache.ts'
import { StateKeys } from './keys.ts'
import { askMultiSlot } from './multi-slot.ts'
import { type RedisSharedEntries, redisSharedEntries } from './redis-shared-entries.ts'
import { Scripts } from './script.ts'
import { COMMIT, headerOf, type KeyedCharge, PEEK, REFUND, type Step } from './script-args.ts'
import { ScriptRunner } from './script-runner.ts'
import { findServerWarnings } from './server-warnings.ts'
import { deadlineIn, SlotPipelines } from './slot-pipeline.ts'

/** State outlives its time by this much where callers bring their own clocks, which may stand apart. */
const GRACE_MS = 60_000
/** A connection that comes and goes is told of this often. */
const TOLD_EVERY_MS = 10_000

export interface RedisStoreOptions {
  /** A client of ioredis or node-redis, standalone, Sentinel or Cluster. Stays open when the store is closed. */
  readonly client: AnyRedisClient
  /** What all keys begin with. Default: topicgate. */
  readonly prefix?: string | undefined
  /** How long a decision may take, in milliseconds; later it is a StoreError. Default: 250. */
  readonly timeoutMs?: number | undefined
  /**
   * Whose time counts: the server's, or that which callers bring (theirs must be in step), by a clock of the caller's
   * choice where they bring none. Default: server.
   */
  readonly clock?: 'server' | 'caller' | Clock | undefined
  /** Most keys whose refusal is remembered here until it ends; 0 for none. Default: {@link BOUNDS.denials}. */
  readonly denialCache?: number | undefined
  readonly logger?: Logger | undefined
}

const OPTIONS: OptionNames<RedisStoreOptions> = {
  client: true,
  prefix: true,
  timeoutMs: true,
  clock: true,
  denialCache: true,
  logger: true,
}

export interface RedisHealth extends StoreHealth {
  /** Messages refused here, without asking Redis. */
  readonly refusedHere: number
  /** Decisions that wait for an answer. */
  readonly pending: number
}

/**
 * State in Redis or Valkey, shared by all who use the same prefix: one script call for all charges of a message, and for
 * all messages of one tick. Rejects with StoreError while Redis is out of reach; nothing it gave up runs later.
 */
export class RedisStore implements Store {
  readonly name = 'redis'
  readonly algorithms: ReadonlySet<string> = new Set(ALGORITHMS)
  readonly sharedEntries: RedisSharedEntries
  readonly backend: Backend
  readonly #client: RedisClient
  readonly #keys: StateKeys
  readonly #scripts = new Scripts()
  readonly #histories = new Histories(headerOf)
  readonly #scriptRunner: ScriptRunner
  readonly #slotPipelines: SlotPipelines
  readonly #denialCache: DenialCache
  readonly #timeoutMs: number
  /** The callers' clock, where their time counts. */
  readonly #callers: Clock | undefined
  readonly #logger: Logger
  #warned: ReadonlySet<string> = new Set()
  #toldMs = Number.NEGATIVE_INFINITY
  #closed = false

  /** Throws PolicyError for an option that makes no sense, UnsupportedError for an unknown client. */
  constructor(options: RedisStoreOptions) {
    checkOptionNames(options, OPTIONS)
    const { clock = 'server', timeoutMs = 250, denialCache = MAX_SIZES.denialCache } = options
    whole('timeoutMs', timeoutMs, 1)
    whole('denialCache', denialCache, 0)
    const { prefix = 'topicgate' } = options
    this.#keys = new StateKeys(prefix)
    this.#logger = options.logger ?? SILENT
    this.#timeoutMs = timeoutMs
    this.#callers = clock === 'server' ? undefined : clock === 'caller' ? systemClock : clock
    this.#denialCache = new DenialCache(Math.min(denialCache, MAX_SIZES.denialCache))
    this.#client = adapt(options.client, { onError: error => this.#tell(error) })
    this.sharedEntries = redisSharedEntries(this.#client, prefix, timeoutMs)
    this.backend = { kind: 'redis', commands: commandsOf(this.#client, timeoutMs), prefix }
    const graceMs = this.#callers === undefined ? 0 : GRACE_MS
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
      keyed = this.#keyed(charges)
    } catch (error) {
      return Promise.reject(error)
    }
    const nowMs = this.#callers === undefined ? undefined : (options.nowMs ?? this.#callers.now())
    const deadlineMs = deadlineIn(this.#timeoutMs)
    const sentMs = nowMs ?? deadlineMs - this.#timeoutMs
    for (const { limit } of charges) this.#histories.adopt(limit, sentMs)
    if (!options.commit) return this.#ask({ kind: PEEK, charges: keyed, nowMs }, deadlineMs)
    const known = this.#denialCache.answer(keyed, sentMs)
    if (known !== undefined) return known
    return this.#ask({ kind: COMMIT, charges: keyed, nowMs }, deadlineMs).then(verdicts => {
      this.#denialCache.note(keyed, verdicts, sentMs)
      return verdicts
    })
  }

  adopt(limits: readonly Limit[], nowMs: number): void {
    // Where the server's time counts, the moment is told as how long ago it was.
    const sinceMs = this.#callers === undefined ? systemClock.now() : nowMs
    for (const limit of limits) this.#histories.adopt(limit, sinceMs)
  }

  async refund(charges: readonly Charge[]): Promise<void> {
    if (charges.length === 0) return
    const keyed = this.#keyed(charges)
    for (const { stateKey } of keyed) this.#denialCache.forget(stateKey)
    await this.#ask(
      { kind: REFUND, charges: keyed, nowMs: this.#callers?.now() },
      deadlineIn(this.#timeoutMs),
    )
  }

  /** How many keys were forgotten. All but a single key are looked for by SCAN, which takes its time. */
  async forget(selector: Selector): Promise<number> {
    this.#denialCache.clear()
    this.#checkOpen()
    const count = await forgetKeys(this.#client, this.#keys, selector, this.#timeoutMs)
    // What was asked while keys were sought may have been refused by them.
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
    const own = { refusedHere: this.#denialCache.refused, pending: this.#slotPipelines.pending }
    if (detail !== undefined) return { ok: false, detail, ...own }
    return warnings.length > 0 ? { ok: true, warnings, ...own } : { ok: true, ...own }
  }

  /** Logs each warning when it first holds, and again after it did not. */
  #warnOnce(warnings: readonly string[]): void {
    const keys = warnings.map(warning => warning.replace(/\d+/g, '#'))
    for (const [index, warning] of warnings.entries()) {
      if (!this.#warned.has(keys[index]!))
        this.#logger.warn({ store: this.name, warning }, `redis: ${warning}`)
    }
    this.#warned = new Set(keys)
  }

  /** Decisions that still wait are rejected or answered; a client of the user's own stays open. */
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

  #ask(step: Step, deadlineMs: number): Promise<readonly Verdict[]> {
    if (this.#closed) return Promise.reject(closedError())
    if (!this.#client.isReady()) return Promise.reject(notConnected(this.#client))
    if (!this.#client.isCluster) return this.#slotPipelines.ask(0, step, deadlineMs)
    return askMultiSlot(this.#slotPipelines, step, deadlineMs, err =>
      this.#logger.warn({ err }, 'charges of a refused message could not be given back'),
    )
  }

  #keyed(charges: readonly Charge[]): readonly KeyedCharge[] {
    if (charges.length > MAX_SIZES.callCharges) {
      throw new StoreError(
        `redis: a message of ${charges.length} charges; ${MAX_SIZES.callCharges} at the most`,
      )
    }
    return charges.map(({ limit, key, cost, soft }) => {
      if (limit.custom !== undefined) this.#admit(limit)
      return {
        stateKey: this.#keys.of(limit.name, key),
        limit,
        grains: toGrains(cost, limit),
        soft: soft === true,
      }
    })
  }

  #admit({ custom }: Limit): void {
    const refusal = this.#scripts.refuses(custom!)
    if (refusal !== undefined) throw new StoreError(`redis: ${refusal}`)
    this.#scripts.add(custom!)
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError()
  }

  #tell(error: unknown): void {
    const nowMs = systemClock.now()
    if (nowMs - this.#toldMs < TOLD_EVERY_MS) return
    this.#toldMs = nowMs
    this.#logger.warn({ err: error }, 'the connection to Redis is broken')
  }
}

function closedError(): StoreError {
  return new StoreError('redis: the store is closed')
}

function whole(path: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return
  throw policyError(path, `${String(value)} is not a whole number of at least ${least}`)
}
