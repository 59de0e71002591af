import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import type { Gate } from '../gate/gate.ts'

/** Upper bounds of the buckets in seconds, from a decision in memory to a store that hangs. */
export const DURATION_BUCKETS = [
  ...[0.000_000_5, 0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_1, 0.001],
  ...[0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
] as const

export interface DurationsOptions {
  readonly gate: Gate
  /** Sampling interval: one in this many decisions is timed, on average and at irregular intervals. Default: 256. */
  readonly every?: number | undefined
  /** Monotonic clock in milliseconds. Default: performance.now. */
  readonly nowMs?: (() => number) | undefined
}

const OPTIONS: KnownOptions<DurationsOptions> = { gate: true, every: true, nowMs: true }

/** Histogram state: decisions at or under each bound (not cumulative), and above all of them. */
export interface DurationCounts {
  readonly counts: readonly number[]
  readonly sumSeconds: number
}

/**
 * Measures the duration of decisions, including promised ones. Only a sample is timed, because reading the clock
 * twice costs as much as half a decision. Replaces the gate's `check` by a wrapper until `close`.
 */
export class DecisionTimer {
  readonly #gate: Gate
  readonly #counts = new Float64Array(DURATION_BUCKETS.length + 1)
  readonly #listeners = new Set<(seconds: number) => void>()
  readonly #nowMs: () => number
  #sumSeconds = 0

  constructor(options: DurationsOptions) {
    checkOptionNames(options, OPTIONS)
    const { gate, every = 256, nowMs = () => performance.now() } = options
    this.#gate = gate
    this.#nowMs = nowMs
    const check = gate.check
    let left = 1
    let random = 1
    gate.check = (message: Message): MaybePromise<Decision> => {
      if (--left > 0) return check.call(gate, message)
      // Irregular, so that periodic traffic is not always sampled at the same phase (generator of Numerical
      // Recipes).
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0
      left = 1 + Math.floor((random / 2 ** 32) * (2 * every - 1))
      return this.#measure(() => check.call(gate, message))
    }
  }

  counts(): DurationCounts {
    return { counts: Array.from(this.#counts), sumSeconds: this.#sumSeconds }
  }

  /** Returns the durations since the last call, and begins at zero again. */
  drain(): DurationCounts {
    const drained = this.counts()
    this.#counts.fill(0)
    this.#sumSeconds = 0
    return drained
  }

  /** Adds durations that another process has measured. */
  add({ counts, sumSeconds }: DurationCounts): void {
    for (const [bucket, count] of counts.entries()) this.#counts[bucket]! += count
    this.#sumSeconds += sumSeconds
  }

  /** Calls a listener with each duration in seconds; returns a function that unsubscribes. */
  watch(listener: (seconds: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Records a duration measured elsewhere. */
  record(seconds: number): void {
    let bucket = 0
    while (bucket < DURATION_BUCKETS.length && seconds > DURATION_BUCKETS[bucket]!) bucket++
    this.#counts[bucket]!++
    this.#sumSeconds += seconds
    for (const listener of this.#listeners) listener(seconds)
  }

  /** Restores the gate's own `check`. */
  close(): void {
    // An own property hides the method of the class.
    delete (this.#gate as { check?: Gate['check'] }).check
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  #measure(ask: () => MaybePromise<Decision>): MaybePromise<Decision> {
    const startMs = this.#nowMs()
    const end = (): void => this.record(Math.max(0, this.#nowMs() - startMs) / 1_000)
    const answer = ask()
    if (answer instanceof Promise) answer.then(end, end)
    else end()
    return answer
  }
}

/**
 * Returns the bound in seconds under which a fraction of the durations between two states lies, interpolated linearly
 * like Prometheus; undefined without durations, Infinity beyond the last bound.
 */
export function quantileOf(
  share: number,
  before: DurationCounts | undefined,
  now: DurationCounts,
): number | undefined {
  const counts = now.counts.map((count, bucket) => count - (before?.counts[bucket] ?? 0))
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (total === 0) return undefined
  let cumulative = 0
  for (const [bucket, count] of counts.entries()) {
    if (cumulative + count >= share * total && count > 0) {
      const to = DURATION_BUCKETS[bucket]
      if (to === undefined) return Infinity
      const from = bucket === 0 ? 0 : DURATION_BUCKETS[bucket - 1]!
      return from + ((to - from) * (share * total - cumulative)) / count
    }
    cumulative += count
  }
  return Infinity
}
