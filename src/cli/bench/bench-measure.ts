import { createHistogram } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Clock, createSender, type Decision, type Gate, systemClock } from '../../index.ts'
import { BenchMessage, type Flow, type Traffic } from './bench-traffic.ts'

/** Random choices prepared in advance, so that they cost nothing during the measurement. */
const PICKS = 2 ** 18
/** Decisions between two checks of the time. */
const CHUNK = 1_024
const SEED = 12_345

export type BenchDecisionKind = 'allowed' | 'refused'

/** Throughput of consecutive decisions. */
export interface Throughput {
  /** Senders that took part. */
  readonly senders: number
  readonly decisions: number
  /** Share of decisions of the measured kind. */
  readonly share: number
  readonly perSecond: number
  readonly eachNs: number
}

/** Percentiles of single decisions, in nanoseconds. */
export interface Percentiles {
  readonly p50Ns: number
  readonly p99Ns: number
  readonly p999Ns: number
}

export type Speed = Throughput & Percentiles

/** Clock with a settable time. It also reads the system clock, as a gate in production does. */
export class BenchClock implements Clock {
  nowMs = Date.now()

  now(): number {
    systemClock.now()
    return this.nowMs
  }

  /** Timers never run: keys are not swept during a measurement. */
  after(): () => void {
    return () => {}
  }
}

/** Runs decisions of a gate on generated traffic. */
export class BenchRunner {
  readonly #gate: Gate
  readonly #clock: BenchClock
  readonly #traffic: Traffic
  /** Indexes of all flows. */
  readonly indexes: readonly number[]
  #picks = new Int32Array(0)
  #pickIndex = 0
  #flowCount = 0

  constructor(gate: Gate, clock: BenchClock, traffic: Traffic) {
    this.#gate = gate
    this.#clock = clock
    this.#traffic = traffic
    this.indexes = traffic.flows.map((_, index) => index)
    this.pickFrom(this.indexes)
  }

  /** Selects the flows that take part, in the same random order each time. */
  pickFrom(indexes: readonly number[]): void {
    let state = SEED
    this.#flowCount = indexes.length
    this.#pickIndex = 0
    this.#picks = Int32Array.from({ length: PICKS }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return indexes[(state >>> 4) % indexes.length]!
    })
  }

  decide(index: number): Decision {
    const { flows, contents } = this.#traffic
    // The memory store answers synchronously.
    return this.#gate.check(new BenchMessage(flows[index]!, contents)) as Decision
  }

  /**
   * Decides for `forMs`, and advances the clock by `stepMs` before each decision. With `only`, ends early at the first
   * decision not of the `kind`.
   */
  run(forMs: number, stepMs: number, kind: BenchDecisionKind, only = false): Throughput {
    let decisions = 0
    let allowed = 0
    let spentMs = 0
    let share = 1
    const start = performance.now()
    while (spentMs < forMs && (share === 1 || !only)) {
      for (let left = CHUNK; left > 0; left--) {
        this.#clock.nowMs += stepMs
        if (this.decide(this.#next()).allowed) allowed++
      }
      decisions += CHUNK
      spentMs = performance.now() - start
      share = (kind === 'allowed' ? allowed : decisions - allowed) / decisions
    }
    const senders = this.#flowCount
    return {
      senders,
      decisions,
      share,
      perSecond: (decisions / spentMs) * 1_000,
      eachNs: (spentMs * 1e6) / decisions,
    }
  }

  /** Times single decisions for `forMs`, without the time of the timer itself. */
  time(forMs: number, stepMs: number): Percentiles {
    const histogram = createHistogram()
    const timerNs = measureTimer()
    const { flows, contents } = this.#traffic
    const end = performance.now() + forMs
    for (let done = 0; ; done++) {
      if (done % CHUNK === 0 && performance.now() >= end) break
      this.#clock.nowMs += stepMs
      const flow = flows[this.#next()]!
      const start = process.hrtime.bigint()
      this.#gate.check(new BenchMessage(flow, contents))
      const spentNs = Number(process.hrtime.bigint() - start) - timerNs
      histogram.record(Math.max(1, Math.round(spentNs)))
    }
    const [p50Ns, p99Ns, p999Ns] = [50, 99, 99.9].map(share => histogram.percentile(share))
    return { p50Ns: p50Ns!, p99Ns: p99Ns!, p999Ns: p999Ns! }
  }

  #next(): number {
    this.#pickIndex = (this.#pickIndex + 1) & (PICKS - 1)
    return this.#picks[this.#pickIndex]!
  }
}

/** Returns the median of nanoseconds between two timer readings. */
export function measureTimer(): number {
  const histogram = createHistogram()
  for (let left = 20_000; left > 0; left--) {
    const start = process.hrtime.bigint()
    histogram.record(Math.max(1, Number(process.hrtime.bigint() - start)))
  }
  return histogram.percentile(50)
}

/** Memory of keys and senders, in bytes. */
export interface BenchMemory {
  readonly keys: number
  readonly senders: number
  /** Null if there are too few keys to measure. */
  readonly perKeyBytes: number | null
  readonly perSenderBytes: number
}

/** With fewer keys, other memory of the process dominates. */
const MIN_KEYS = 5_000

/**
 * Measures the bytes of each key of a rule and of each connected sender, after all have sent one message. Keys are
 * measured with senders that are freed again. Returns undefined if no garbage collector can be called.
 */
export function measureMemory(gate: Gate, { flows, contents }: Traffic): BenchMemory | undefined {
  const collect = findCollector()
  if (collect === undefined) return undefined
  const used = (): number => {
    for (let times = 0; times < 4; times++) collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const copyOf = (flow: Flow): Flow => ({ ...flow, sender: createSender(flow.sender) })
  // Compile the routes first, without a charge.
  for (const flow of flows) gate.peek(new BenchMessage(copyOf(flow), contents))
  const before = used()
  for (const flow of flows) gate.check(new BenchMessage(copyOf(flow), contents))
  const withKeys = used()
  const connected = flows.map(copyOf)
  for (const flow of connected) gate.check(new BenchMessage(flow, contents))
  const withSenders = used()
  const health = gate.store.health()
  const keys = health instanceof Promise ? 0 : (health.keys ?? 0)
  return {
    keys,
    // Referenced after the last measurement, so that they stay in memory until then.
    senders: connected.length,
    perKeyBytes: keys < MIN_KEYS ? null : Math.max(0, (withKeys - before) / keys),
    perSenderBytes: Math.max(0, (withSenders - withKeys) / connected.length),
  }
}

function findCollector(): (() => void) | undefined {
  try {
    setFlagsFromString('--expose-gc')
    return runInNewContext('gc') as () => void
  } catch {
    return undefined
  }
}
