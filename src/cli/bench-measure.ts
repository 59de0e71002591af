import { createHistogram } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Clock, createSender, type Decision, type Gate, systemClock } from '../index.ts'
import { BenchMessage, type Flow, type Traffic } from './bench-traffic.ts'

/** Picks prepared at once; chance costs nothing while it is measured. */
const PICKS = 2 ** 18
/** Decisions between two looks at the time. */
const CHUNK = 1_024
const SEED = 12_345

export type Kind = 'allowed' | 'refused'

/** Of decisions in a row. */
export interface Pace {
  /** Senders that took part. */
  readonly senders: number
  readonly decisions: number
  /** Share of them that was of the kind that is measured. */
  readonly share: number
  readonly perSecond: number
  readonly eachNs: number
}

/** Of single decisions, in nanoseconds. */
export interface Spread {
  readonly p50Ns: number
  readonly p99Ns: number
  readonly p999Ns: number
}

export type Speed = Pace & Spread

/** Shows what it is told. Reads the machine's clock all the same, as a gate in service does. */
export class SetClock implements Clock {
  nowMs = Date.now()

  now(): number {
    systemClock.now()
    return this.nowMs
  }

  /** Nothing falls due: keys are not swept while they are measured. */
  after(): () => void {
    return () => {}
  }
}

/** Decisions of a gate on made up traffic. */
export class Drive {
  readonly #gate: Gate
  readonly #clock: SetClock
  readonly #traffic: Traffic
  /** Of all flows. */
  readonly indexes: readonly number[]
  #picks = new Int32Array(0)
  #at = 0
  #taking = 0

  constructor(gate: Gate, clock: SetClock, traffic: Traffic) {
    this.#gate = gate
    this.#clock = clock
    this.#traffic = traffic
    this.indexes = traffic.flows.map((_, index) => index)
    this.pickFrom(this.indexes)
  }

  /** The flows that take part, in an order of chance that is the same each time. */
  pickFrom(indexes: readonly number[]): void {
    let state = SEED
    this.#taking = indexes.length
    this.#at = 0
    this.#picks = Int32Array.from({ length: PICKS }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return indexes[(state >>> 4) % indexes.length]!
    })
  }

  decide(index: number): Decision {
    const { flows, contents } = this.#traffic
    // The memory store answers at once.
    return this.#gate.check(new BenchMessage(flows[index]!, contents)) as Decision
  }

  /**
   * Decides for so long, the clock moving on by `stepMs` before each; ends early at the first that is not of the
   * `kind` where only that kind will do.
   */
  run(forMs: number, stepMs: number, kind: Kind, only = false): Pace {
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
    const senders = this.#taking
    return {
      senders,
      decisions,
      share,
      perSecond: (decisions / spentMs) * 1_000,
      eachNs: (spentMs * 1e6) / decisions,
    }
  }

  /** Times single decisions for so long; what the timer itself takes is taken off. */
  time(forMs: number, stepMs: number): Spread {
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
    this.#at = (this.#at + 1) & (PICKS - 1)
    return this.#picks[this.#at]!
  }
}

/** Nanoseconds between two readings with nothing in between; the median. */
export function measureTimer(): number {
  const histogram = createHistogram()
  for (let left = 20_000; left > 0; left--) {
    const start = process.hrtime.bigint()
    histogram.record(Math.max(1, Number(process.hrtime.bigint() - start)))
  }
  return histogram.percentile(50)
}

/** What keys and senders hold, in bytes. */
export interface Memory {
  readonly keys: number
  readonly senders: number
  /** Null where there are too few keys to tell. */
  readonly perKeyBytes: number | null
  readonly perSenderBytes: number
}

/** Fewer keys are lost among what a process does besides. */
const LEAST_KEYS = 5_000

/**
 * Bytes for each key of a rule and for each connected sender: what is in use after all have sent one message. The keys
 * are counted by senders that are gone again. Undefined where no garbage collector can be called.
 */
export function measureMemory(gate: Gate, { flows, contents }: Traffic): Memory | undefined {
  const collect = findCollector()
  if (collect === undefined) return undefined
  const used = (): number => {
    for (let times = 0; times < 4; times++) collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const copyOf = (flow: Flow): Flow => ({ ...flow, sender: createSender(flow.sender) })
  // Routes are found, and nothing is charged.
  for (const flow of flows) gate.peek(new BenchMessage(copyOf(flow), contents))
  const before = used()
  for (const flow of flows) gate.check(new BenchMessage(copyOf(flow), contents))
  const withKeys = used()
  const seated = flows.map(copyOf)
  for (const flow of seated) gate.check(new BenchMessage(flow, contents))
  const withSenders = used()
  const health = gate.store.health()
  const keys = health instanceof Promise ? 0 : (health.keys ?? 0)
  return {
    keys,
    // Named after the last measure, so that they are alive in it.
    senders: seated.length,
    perKeyBytes: keys < LEAST_KEYS ? null : Math.max(0, (withKeys - before) / keys),
    perSenderBytes: Math.max(0, (withSenders - withKeys) / seated.length),
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
