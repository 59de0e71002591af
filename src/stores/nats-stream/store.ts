import { type Limit, toGrains } from '../../algorithms/limit-types.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { deadlineIn, type NatsConnection, NatsConnectionWrapper } from '../nats-kv/connection-wrapper.ts'
import { JetStreamApi } from '../nats-kv/jetstream-api-client.ts'
import { NatsSharedEntries } from '../nats-kv/nats-shared-entries.ts'
import { checkBucketName, checkWhole } from '../nats-kv/subject-names.ts'
import type { Charge, StateSelector, Store, StoreHealth, Verdict } from '../store.ts'
import { RuleCounterStreams, type Taken } from './rule-counter-streams.ts'

export interface NatsStreamStoreOptions {
  /** Connection of `nats` or `@nats-io/transport-node`, or a promise of one. */
  readonly connection: NatsConnection | Promise<NatsConnection>
  /** Called once when the store is closed, to close a connection made for this store alone. */
  readonly onClose?: (() => Promise<void>) | undefined
  /** Returns why the promised connection is not available yet. */
  readonly problem?: () => string | undefined
  /** Prefix of the names of streams and subjects. Default: topicgate. */
  readonly bucket?: string | undefined
  /** Longest duration of a decision in milliseconds; later it is a StoreError. Default: 250. */
  readonly timeoutMs?: number | undefined
  /** Measures waits only; counting uses the server's time. Default: the machine's. */
  readonly clock?: Clock | undefined
  readonly storage?: 'file' | 'memory' | undefined
  readonly replicas?: number | undefined
  /**
   * Maximum number of units counted for all keys of a rule; further ones are a StoreError. Default: {@link
   * MAX_SIZES.natsBucketKeys}.
   */
  readonly maxUnits?: number | undefined
}

const OPTIONS: KnownOptions<NatsStreamStoreOptions> = {
  connection: true,
  onClose: true,
  problem: true,
  bucket: true,
  timeoutMs: true,
  clock: true,
  storage: true,
  replicas: true,
  maxUnits: true,
}

/**
 * Shortest period. Why: JetStream removes old messages about this often, so shorter windows would last far too long.
 */
const MIN_PERIOD_MS = 1_000

/**
 * Sliding logs counted by JetStream itself: a stream per rule, a subject per key, a message per unit. The stream
 * accepts at most the limit's count per subject, each for the length of the window. Exact over all nodes by the
 * server's time, with one round trip per unit and no retries. Whole units only.
 */
export class NatsStreamStore implements Store {
  readonly name = 'nats-stream'
  readonly algorithms: ReadonlySet<string> = new Set(['sliding-log'])
  readonly sharedEntries: NatsSharedEntries
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #link: NatsConnectionWrapper
  readonly #streams: RuleCounterStreams
  readonly #onClose: (() => Promise<void>) | undefined
  #pending = 0
  #closed = false

  /** Throws PolicyError for an invalid option. */
  constructor(options: NatsStreamStoreOptions) {
    checkOptionNames(options, OPTIONS)
    this.#clock = options.clock ?? systemClock
    this.#timeoutMs = checkWhole('timeoutMs', options.timeoutMs ?? 250, 1)
    this.#link = new NatsConnectionWrapper(options.connection, options.problem)
    const jetstream = new JetStreamApi(this.#link)
    const { bucket = 'topicgate', storage = 'file', replicas = 1 } = options
    const common = { bucket: checkBucketName(bucket), storage, replicas: checkWhole('replicas', replicas, 1) }
    this.sharedEntries = new NatsSharedEntries(this.#link, jetstream, {
      ...common,
      bucket: `${common.bucket}-notes`,
      timeoutMs: this.#timeoutMs,
    })
    this.#streams = new RuleCounterStreams(jetstream, {
      ...common,
      maxUnits: checkWhole('maxUnits', options.maxUnits ?? MAX_SIZES.natsBucketKeys, 1),
    })
    this.#onClose = options.onClose
  }

  refuses(limit: Limit): string | undefined {
    if (limit.custom !== undefined) return 'a NATS stream runs no algorithm of your own'
    if (limit.scale !== 1) return 'a NATS stream counts whole units: leave out `fractional`'
    if (limit.periodMs >= MIN_PERIOD_MS) return undefined
    return `a NATS stream has no window shorter than ${MIN_PERIOD_MS} ms`
  }

  /** Ignores `nowMs`: the server's time counts. */
  decide(charges: readonly Charge[], options: { readonly commit: boolean }): Promise<readonly Verdict[]> {
    return this.#withDeadline(async deadlineMs => {
      for (const { limit } of charges) this.#check(limit)
      // A single unit needs no probe, because the stream itself accepts or refuses it.
      const isSingle = charges.length === 1 && toGrains(charges[0]!.cost, charges[0]!.limit) === 1
      if (options.commit && isSingle) return this.#take(charges, [], deadlineMs)
      const probed = await this.#probe(charges, deadlineMs)
      return options.commit && !isDenied(charges, probed) ? this.#take(charges, probed, deadlineMs) : probed
    })
  }

  /** Refunds the units taken last. */
  refund(charges: readonly Charge[]): Promise<void> {
    return this.#withDeadline(async deadlineMs => {
      for (const { limit, key, cost } of charges) {
        this.#check(limit)
        await this.#streams.giveBack(limit, key, toGrains(cost, limit), deadlineMs)
      }
    })
  }

  /** Returns how many keys were forgotten. */
  forget({ rule, key }: StateSelector): Promise<number> {
    return this.#withDeadline(deadlineMs => this.#streams.forget(rule, key, deadlineMs))
  }

  async health(): Promise<StoreHealth> {
    try {
      const streams = await this.#withDeadline(deadlineMs => this.#streams.names(undefined, deadlineMs))
      return { ok: true, detail: `${streams.length} streams` }
    } catch (error) {
      return { ok: false, detail: (error as Error).message }
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#link.endListening()
    await this.#onClose?.()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Returns the verdict on each charge; charges of the same rule and key add up. */
  async #probe(charges: readonly Charge[], deadlineMs: number): Promise<Verdict[]> {
    const verdicts: Verdict[] = []
    const sums = new Map<string, number>()
    for (const { limit, key, cost } of charges) {
      const subject = this.#streams.subjectOf(limit.name, key)
      const units = toGrains(cost, limit) + (sums.get(subject) ?? 0)
      const verdict = await this.#verdictOf(limit, key, units, deadlineMs)
      if (verdict.allowed) sums.set(subject, units)
      verdicts.push(verdict)
    }
    return verdicts
  }

  /** Takes all charges that the probe did not deny, or none. */
  async #take(
    charges: readonly Charge[],
    probed: readonly Verdict[],
    deadlineMs: number,
  ): Promise<Verdict[]> {
    const verdicts = [...probed]
    const taken: Taken[] = []
    try {
      for (const [index, { limit, key, cost, soft }] of charges.entries()) {
        if (probed[index]?.allowed === false) continue
        const own = await this.#streams.take(limit, key, toGrains(cost, limit), deadlineMs)
        if (own !== undefined) {
          taken.push(own)
          verdicts[index] ??= await this.#allowance(limit, key, deadlineMs)
          continue
        }
        // Another node was faster, or there was no probe.
        const found = await this.#verdictOf(limit, key, toGrains(cost, limit), deadlineMs)
        verdicts[index] = { ...found, allowed: false, retryAfterMs: Math.max(1, found.retryAfterMs) }
        if (soft === true) continue
        await this.#streams.remove(taken, deadlineMs)
        return verdicts
      }
      return verdicts
    } catch (error) {
      await this.#streams.remove(taken, deadlineIn(this.#timeoutMs)).catch(() => {})
      throw error
    }
  }

  /** Returns the allowance after a unit was taken, by another request. */
  async #allowance(limit: Limit, key: string, deadlineMs: number): Promise<Verdict> {
    const used = await this.#streams.used(limit, key, deadlineMs)
    return {
      allowed: true,
      remaining: Math.max(0, limit.count - used),
      retryAfterMs: 0,
      resetMs: limit.periodMs,
    }
  }

  async #verdictOf(limit: Limit, key: string, units: number, deadlineMs: number): Promise<Verdict> {
    const used = await this.#streams.used(limit, key, deadlineMs)
    const allowed = used + units <= limit.count
    const newestMs = used > 0 ? await this.#streams.newestMs(limit, key, deadlineMs) : undefined
    const waitOf = (timeMs: number | undefined): number =>
      timeMs === undefined
        ? 0
        : Math.min(limit.periodMs, Math.max(1, timeMs + limit.periodMs - this.#clock.now()))
    if (allowed) {
      const resetMs = units > 0 ? limit.periodMs : waitOf(newestMs)
      return { allowed, remaining: limit.count - used - units, retryAfterMs: 0, resetMs }
    }
    const remaining = Math.max(0, limit.count - used)
    const resetMs = waitOf(newestMs)
    if (units > limit.count) return { allowed, remaining, retryAfterMs: Number.POSITIVE_INFINITY, resetMs }
    const inTheWay = used + units - limit.count
    const freeMs = await this.#streams.nthMs(limit, key, inTheWay, deadlineMs)
    return { allowed, remaining, retryAfterMs: freeMs === undefined ? resetMs : waitOf(freeMs), resetMs }
  }

  #check(limit: Limit): void {
    const problem =
      limit.algorithm === 'sliding-log'
        ? this.refuses(limit)
        : `a NATS stream cannot count a ${limit.algorithm}`
    if (problem !== undefined) throw new StoreError(`nats: ${problem}`)
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

function isDenied(charges: readonly Charge[], verdicts: readonly Verdict[]): boolean {
  return charges.some(({ soft }, index) => soft !== true && !verdicts[index]!.allowed)
}
