import type { ClusterLoad, NodeLoad, ScaleHost } from '../chain/rules/limit-scaling.ts'
import type { Scaled } from '../core/decision.ts'
import { Hysteresis, type HysteresisLevel } from './hysteresis.ts'
import type { SignalPlan } from './parse-signal.ts'
import { SignalReadings, type Worst } from './worst-signal.ts'

/** Settings of a load monitor. */
export interface MonitorPlan {
  readonly signals: readonly SignalPlan[]
  readonly levels:
    | { readonly floor: Omit<HysteresisLevel, 'above'>; readonly rungs: readonly HysteresisLevel[] }
    | undefined
  /** Stages by signal name. */
  readonly stages: ReadonlyMap<string, readonly HysteresisLevel[]>
  readonly everyMs: number
  readonly across: 'node' | 'fleet'
  /** Name of this node. */
  readonly node: string | undefined
}

/** Latest measurements of a load monitor. */
export interface LoadReport {
  /**
   * The highest load of all signals, and of all nodes if they are compared, 0 to 1; undefined before the
   * first reading.
   */
  readonly load: number | undefined
  /** Values of this node by signal, in the unit of the signal. */
  readonly signals: Readonly<Record<string, number>>
  /** Failed readings by signal. */
  readonly broken: Readonly<Record<string, number>>
  /** Number of live nodes including this one, and of failed exchanges. Only if nodes are compared. */
  readonly fleet?: { readonly nodes: number; readonly failures: number } | undefined
  readonly scaled: Scaled | undefined
  /** Number of changes of the factor. */
  readonly changes: number
}

const UNCHANGED: Omit<HysteresisLevel, 'above'> = { name: 'normal', factor: 1 }
const NOTHING: Worst = { found: new Map(), load: undefined }

/**
 * Reads signals at an interval and derives one factor: the smallest of those selected by the load level and
 * by the stages of each signal. They are not multiplied, because one overload shows in several signals.
 */
export class LoadMonitor {
  readonly #plan: MonitorPlan
  readonly #levels: Hysteresis | undefined
  readonly #stages: ReadonlyMap<string, Hysteresis>
  #readings: SignalReadings | undefined
  #worst = NOTHING
  #nodes = 1
  #failures = 0
  #scaled: Scaled | undefined
  /** Node whose load determines the factor. */
  #named: { readonly node: string | undefined } | undefined
  #changes = 0

  constructor(plan: MonitorPlan) {
    this.#plan = plan
    this.#levels = plan.levels && new Hysteresis(plan.levels.floor, plan.levels.rungs)
    this.#stages = new Map([...plan.stages].map(([name, rungs]) => [name, new Hysteresis(UNCHANGED, rungs)]))
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
      ...(this.#plan.across === 'fleet' ? { fleet: { nodes: this.#nodes, failures: this.#failures } } : {}),
      scaled: this.#scaled,
      changes: this.#changes,
    }
  }

  /** Starts reading. The returned function stops it. With a fixed load, nothing is read. */
  start(host: ScaleHost): () => void {
    if (host.load === 'none') return () => {}
    const { everyMs, across, node, signals } = this.#plan
    const readings = new SignalReadings(signals, host)
    this.#readings = readings
    if (host.load !== undefined) {
      this.#assume(host.load, readings, host)
      return () => readings.close()
    }
    // Signals that measure the time between two readings start here.
    readings.take()
    const fleet = across === 'fleet' ? host.join(node, everyMs) : undefined
    let ended = false
    let cancel: () => void
    const look = (): void => {
      cancel = host.clock.after(everyMs, look)
      readings.take()
      if (fleet === undefined) this.#go(readings, [], host)
      else {
        void this.#ask(fleet, readings).then(others => {
          if (!ended) this.#go(readings, others, host)
        })
      }
    }
    cancel = host.clock.after(everyMs, look)
    return () => {
      ended = true
      cancel()
      fleet?.leave()
      readings.close()
    }
  }

  #assume(load: number, readings: SignalReadings, host: ScaleHost): void {
    readings.assume(load)
    this.#worst = readings.worst([], undefined)
    this.#levels?.begin(load)
    for (const [name, { value }] of this.#worst.found) this.#stages.get(name)?.begin(value)
    this.#settle(host)
  }

  /** Returns the load of the other nodes; empty if they cannot be reached. */
  async #ask(fleet: ClusterLoad, { values }: SignalReadings): Promise<readonly NodeLoad[]> {
    const others = await fleet.exchange(values)
    if (others === undefined) this.#failures++
    this.#nodes = 1 + (others?.length ?? 0)
    return others ?? []
  }

  #go(readings: SignalReadings, others: readonly NodeLoad[], host: ScaleHost): void {
    this.#worst = readings.worst(others, this.#named)
    const { load, found } = this.#worst
    if (load !== undefined) this.#levels?.climb(load.value)
    for (const [name, hysteresis] of this.#stages) {
      const value = found.get(name)?.value
      if (value !== undefined) hysteresis.climb(value)
    }
    this.#settle(host)
  }

  #settle(host: ScaleHost): void {
    const before = this.#scaled
    const { factor, cause, node } = this.#strictest()
    // Names a node only if limits are reduced.
    this.#named = factor < 1 ? { node } : undefined
    const reason = factor > 1 || node === undefined ? cause : `${cause} of node ${node}`
    if (factor === (before?.factor ?? 1) && (factor === 1 || reason === before?.reason)) return
    if (factor !== (before?.factor ?? 1)) this.#changes++
    this.#scaled = factor === 1 ? undefined : Object.freeze({ factor, reason })
    host.changed(this.#scaled)
  }

  /** Returns the smallest factor with its cause. Unknown signals do not reduce limits. */
  #strictest(): { readonly factor: number; readonly cause: string; readonly node: string | undefined } {
    const { load, found } = this.#worst
    const level = load === undefined ? undefined : this.#levels?.rung
    let strictest = { factor: level?.factor ?? 1, cause: `load ${level?.name}`, node: load?.node }
    for (const [name, { rung }] of this.#stages) {
      const value = found.get(name)
      if (rung === UNCHANGED || rung.factor >= strictest.factor || value === undefined) continue
      strictest = { factor: rung.factor, cause: `${name} ${rung.name}`, node: value.node }
    }
    return strictest
  }
}
