import type { ClusterLoad, NodeLoad, ScaleHost } from '../chain/rules/limit-scaling.ts'
import type { Scaled } from '../core/decision.ts'
import { Hysteresis, type HysteresisLevel } from './hysteresis.ts'
import type { SignalPlan } from './signal-words.ts'
import { SignalReadings, type Worst } from './worst-signal.ts'

/** What a monitor goes by. */
export interface MonitorPlan {
  readonly signals: readonly SignalPlan[]
  readonly levels:
    | { readonly floor: Omit<HysteresisLevel, 'above'>; readonly rungs: readonly HysteresisLevel[] }
    | undefined
  /** Stages by the name of their signal. */
  readonly stages: ReadonlyMap<string, readonly HysteresisLevel[]>
  readonly everyMs: number
  readonly across: 'node' | 'fleet'
  /** What this node is called among others. */
  readonly node: string | undefined
}

/** What a monitor found last. */
export interface LoadReport {
  /** The worst of all signals, of all nodes where it goes by them, 0 to 1; undefined before the first reading. */
  readonly load: number | undefined
  /** Of this node by signal, in its own unit. */
  readonly signals: Readonly<Record<string, number>>
  /** Readings that failed, by signal. */
  readonly broken: Readonly<Record<string, number>>
  /** Living nodes with this one, and how often the others could not be asked. Only where it goes by them. */
  readonly fleet?: { readonly nodes: number; readonly failures: number } | undefined
  readonly scaled: Scaled | undefined
  /** How often the factor has changed. */
  readonly changes: number
}

const UNCHANGED: Omit<HysteresisLevel, 'above'> = { name: 'normal', factor: 1 }
const NOTHING: Worst = { found: new Map(), load: undefined }

/**
 * Reads signals every so often, and makes one factor of them: the least of what the level of the worst load and the
 * stages of each signal call for. They are not multiplied: one overload shows in several signals.
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
  /** Whose load the factor stands for. */
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

  /** Begins to read; the returned function ends it. With a load that is given, nothing is read. */
  start(host: ScaleHost): () => void {
    if (host.load === 'none') return () => {}
    const { everyMs, across, node, signals } = this.#plan
    const readings = new SignalReadings(signals, host)
    this.#readings = readings
    if (host.load !== undefined) {
      this.#assume(host.load, readings, host)
      return () => readings.close()
    }
    // Signals that tell what was between two readings begin here.
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

  /** What the others have told; nothing where they cannot be asked. */
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
    // Where limits are raised, no node stands out.
    this.#named = factor < 1 ? { node } : undefined
    const reason = factor > 1 || node === undefined ? cause : `${cause} of node ${node}`
    if (factor === (before?.factor ?? 1) && (factor === 1 || reason === before?.reason)) return
    if (factor !== (before?.factor ?? 1)) this.#changes++
    this.#scaled = factor === 1 ? undefined : Object.freeze({ factor, reason })
    host.changed(this.#scaled)
  }

  /** What nothing is known of holds nobody back. */
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
