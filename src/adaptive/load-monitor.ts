import type { AdaptiveHost, LoadExchange, LoadReadings, NodeLoad } from '../chain/rules/load-scaling.ts'
import type { Scaled } from '../core/decision.ts'
import { UnsupportedError } from '../core/errors.ts'
import { Hysteresis, type LoadLevel } from './hysteresis.ts'
import type { SignalPlan } from './resolve-signal.ts'
import { type HighestLoad, SignalReadings } from './signal-readings.ts'

/** Settings of a load monitor. */
export interface LoadMonitorSettings {
  readonly signals: readonly SignalPlan[]
  readonly levels:
    | { readonly lowest: Omit<LoadLevel, 'above'>; readonly higher: readonly LoadLevel[] }
    | undefined
  /** Stages by signal name. */
  readonly stages: ReadonlyMap<string, readonly LoadLevel[]>
  readonly everyMs: number
  readonly across: 'node' | 'fleet'
  /** Name of this node. */
  readonly node: string | undefined
}

/** Latest measurements of a load monitor. */
export interface LoadReport extends LoadReadings {
  /**
   * The highest load of all signals, and of all nodes if they are compared, 0 to 1; undefined before the
   * first reading.
   */
  readonly load: number | undefined
  /** Failed readings by signal. */
  readonly broken: Readonly<Record<string, number>>
  /** Number of live nodes including this one, and of failed exchanges. Only if nodes are compared. */
  readonly fleet?: { readonly nodes: number; readonly failures: number } | undefined
  readonly scaled: Scaled | undefined
  /** Number of changes of the factor. */
  readonly changes: number
}

const UNCHANGED: Omit<LoadLevel, 'above'> = { name: 'normal', factor: 1 }
const NO_LOAD: HighestLoad = { bySignal: new Map(), load: undefined }

/**
 * Reads signals at an interval and derives one factor: the smallest of those selected by the load level and
 * by the stages of each signal. They are not multiplied, because one overload shows in several signals.
 */
export class LoadMonitor {
  readonly #plan: LoadMonitorSettings
  readonly #levels: Hysteresis | undefined
  readonly #stages: ReadonlyMap<string, Hysteresis>
  #readings: SignalReadings | undefined
  #worst = NO_LOAD
  #isRunning = false
  #nodes = 1
  #failures = 0
  #scaled: Scaled | undefined
  /** Node whose load reduces the limits; undefined if no limit is reduced. */
  #causingNode: { readonly node: string | undefined } | undefined
  #changes = 0

  constructor(plan: LoadMonitorSettings) {
    this.#plan = plan
    this.#levels = plan.levels && new Hysteresis(plan.levels.lowest, plan.levels.higher)
    this.#stages = new Map(
      [...plan.stages].map(([name, stages]) => [name, new Hysteresis(UNCHANGED, stages)]),
    )
  }

  get scaled(): Scaled | undefined {
    return this.#scaled
  }

  report(): LoadReport {
    const { values = [], broken = [] } = this.#readings ?? {}
    return {
      load: this.#worst.load?.value,
      signals: Object.fromEntries(values),
      broken: Object.fromEntries(broken),
      fleet: this.#plan.across === 'fleet' ? { nodes: this.#nodes, failures: this.#failures } : undefined,
      scaled: this.#scaled,
      changes: this.#changes,
    }
  }

  /**
   * Starts reading. The returned function stops it. With a fixed load, nothing is read. Throws
   * UnsupportedError if the monitor runs already.
   */
  start(host: AdaptiveHost): () => void {
    if (this.#isRunning)
      throw new UnsupportedError('an adaptive() belongs to one gate: make another for the next')
    this.#isRunning = true
    const stop = this.#start(host)
    return () => {
      this.#isRunning = false
      stop()
    }
  }

  #start(host: AdaptiveHost): () => void {
    if (host.load === 'none') return () => {}
    const { everyMs, across, node, signals } = this.#plan
    const readings = new SignalReadings(signals, host)
    this.#readings = readings
    if (host.load !== undefined) {
      this.#setFixedLoad(host.load, readings, host)
      return () => readings.close()
    }
    // Signals that measure the time between two readings start here.
    readings.readAll()
    const cluster = across === 'fleet' ? host.join(node, everyMs) : undefined
    let isStopped = false
    let cancel: () => void
    const poll = (): void => {
      cancel = host.clock.after(everyMs, poll)
      readings.readAll()
      if (cluster === undefined) this.#recordLoad(readings, [], host)
      else {
        void this.#loadOfOthers(cluster, readings).then(others => {
          if (!isStopped) this.#recordLoad(readings, others, host)
        })
      }
    }
    cancel = host.clock.after(everyMs, poll)
    return () => {
      isStopped = true
      cancel()
      cluster?.close()
      readings.close()
    }
  }

  #setFixedLoad(load: number, readings: SignalReadings, host: AdaptiveHost): void {
    readings.setLoad(load)
    this.#worst = readings.worst([], undefined)
    this.#levels?.reset(load)
    for (const [name, { value }] of this.#worst.bySignal) this.#stages.get(name)?.reset(value)
    this.#updateFactor(host)
  }

  /** Returns the load of the other nodes; empty if they cannot be reached. */
  async #loadOfOthers(cluster: LoadExchange, { values }: SignalReadings): Promise<readonly NodeLoad[]> {
    const others = await cluster.exchange(values)
    if (others === undefined) this.#failures++
    this.#nodes = 1 + (others?.length ?? 0)
    return others ?? []
  }

  #recordLoad(readings: SignalReadings, others: readonly NodeLoad[], host: AdaptiveHost): void {
    this.#worst = readings.worst(others, this.#causingNode)
    const { load, bySignal } = this.#worst
    if (load !== undefined) this.#levels?.record(load.value)
    for (const [name, hysteresis] of this.#stages) {
      const value = bySignal.get(name)?.value
      if (value !== undefined) hysteresis.record(value)
    }
    this.#updateFactor(host)
  }

  #updateFactor(host: AdaptiveHost): void {
    const before = this.#scaled
    const { factor, cause, node } = this.#strictest()
    this.#causingNode = factor < 1 ? { node } : undefined
    const reason = factor > 1 || node === undefined ? cause : `${cause} of node ${node}`
    if (factor === (before?.factor ?? 1) && (factor === 1 || reason === before?.reason)) return
    if (factor !== (before?.factor ?? 1)) this.#changes++
    this.#scaled = factor === 1 ? undefined : Object.freeze({ factor, reason })
    host.changed(this.#scaled)
  }

  /** Returns the smallest factor with its cause. Unknown signals do not reduce limits. */
  #strictest(): { readonly factor: number; readonly cause: string; readonly node: string | undefined } {
    const { load, bySignal } = this.#worst
    const level = load === undefined ? undefined : this.#levels?.level
    let strictest = { factor: level?.factor ?? 1, cause: `load ${level?.name}`, node: load?.node }
    for (const [name, { level: stage }] of this.#stages) {
      const reading = bySignal.get(name)
      if (stage === UNCHANGED || stage.factor >= strictest.factor || reading === undefined) continue
      strictest = { factor: stage.factor, cause: `${name} ${stage.name}`, node: reading.node }
    }
    return strictest
  }
}
