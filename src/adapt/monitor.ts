import type { ScaleHost } from '../chain/scale.ts'
import type { Scaled } from '../decision.ts'
import { Ladder, type Rung } from './ladder.ts'
import type { Signal } from './signal.ts'

/** What a monitor goes by. */
export interface MonitorPlan {
  readonly signals: readonly (() => Signal)[]
  readonly levels: { readonly floor: Omit<Rung, 'above'>; readonly rungs: readonly Rung[] } | undefined
  /** Stages by the name of their signal. */
  readonly stages: ReadonlyMap<string, readonly Rung[]>
  readonly everyMs: number
}

/** What a monitor found last. */
export interface LoadReport {
  /** The worst of all signals, 0 to 1; undefined before the first reading. */
  readonly load: number | undefined
  /** By signal, in its own unit. */
  readonly signals: Readonly<Record<string, number>>
  /** Readings that failed, by signal. */
  readonly broken: Readonly<Record<string, number>>
  readonly scaled: Scaled | undefined
  /** How often the factor has changed. */
  readonly changes: number
}

const UNCHANGED: Omit<Rung, 'above'> = { name: 'normal', factor: 1 }

/**
 * Reads signals every so often, and makes one factor of them: the least of what the level of the worst load and the
 * stages of each signal call for. They are not multiplied: one overload shows in several signals.
 */
export class LoadMonitor {
  readonly #plan: MonitorPlan
  readonly #levels: Ladder | undefined
  readonly #stages: ReadonlyMap<string, Ladder>
  readonly #values = new Map<string, number>()
  readonly #broken = new Map<string, number>()
  #signals: readonly Signal[] = []
  #load: number | undefined
  #scaled: Scaled | undefined
  #changes = 0

  constructor(plan: MonitorPlan) {
    this.#plan = plan
    this.#levels = plan.levels && new Ladder(plan.levels.floor, plan.levels.rungs)
    this.#stages = new Map([...plan.stages].map(([name, rungs]) => [name, new Ladder(UNCHANGED, rungs)]))
  }

  get scaled(): Scaled | undefined {
    return this.#scaled
  }

  report(): LoadReport {
    return {
      load: this.#load,
      signals: Object.fromEntries(this.#values),
      broken: Object.fromEntries(this.#broken),
      scaled: this.#scaled,
      changes: this.#changes,
    }
  }

  /** Begins to read; the returned function ends it. With a load that is given, nothing is read. */
  start(host: ScaleHost): () => void {
    if (host.load === 'none') return () => {}
    this.#signals = this.#plan.signals.map(make => make())
    if (host.load !== undefined) {
      this.#assume(host.load, host)
      return () => this.#end()
    }
    // Signals that tell what was between two readings begin here.
    this.#read(host)
    let cancel: () => void
    const look = (): void => {
      this.#read(host)
      this.#climb()
      this.#settle(host)
      cancel = host.clock.after(this.#plan.everyMs, look)
    }
    cancel = host.clock.after(this.#plan.everyMs, look)
    return () => {
      cancel()
      this.#end()
    }
  }

  #end(): void {
    for (const signal of this.#signals) signal.close?.()
    this.#signals = []
  }

  #assume(load: number, host: ScaleHost): void {
    this.#load = load
    this.#levels?.begin(load)
    for (const { name, full = 1 } of this.#signals) {
      this.#values.set(name, load * full)
      this.#stages.get(name)?.begin(load * full)
    }
    this.#settle(host)
  }

  #read(host: ScaleHost): void {
    const nowMs = host.clock.now()
    let worst: number | undefined
    for (const signal of this.#signals) {
      const value = this.#valueOf(signal, nowMs, host)
      if (value === undefined) {
        this.#values.delete(signal.name)
        continue
      }
      this.#values.set(signal.name, value)
      worst = Math.max(worst ?? 0, Math.min(1, value / (signal.full ?? 1)))
    }
    this.#load = worst
  }

  #valueOf(signal: Signal, nowMs: number, { logger }: ScaleHost): number | undefined {
    let cause: unknown
    try {
      const value = signal.read(nowMs)
      if (value === undefined) return undefined
      if (typeof value === 'number' && value >= 0) return value
      cause = new TypeError(`the signal gave ${String(value)}`)
    } catch (error) {
      cause = error
    }
    const failures = (this.#broken.get(signal.name) ?? 0) + 1
    this.#broken.set(signal.name, failures)
    if (failures === 1)
      logger.warn({ err: cause, signal: signal.name }, 'a load signal is broken and left out')
    return undefined
  }

  #climb(): void {
    if (this.#load !== undefined) this.#levels?.climb(this.#load)
    for (const [name, ladder] of this.#stages) {
      const value = this.#values.get(name)
      if (value !== undefined) ladder.climb(value)
    }
  }

  #settle(host: ScaleHost): void {
    const scaled = this.#strictest()
    if (scaled?.factor === this.#scaled?.factor && scaled?.reason === this.#scaled?.reason) return
    this.#scaled = scaled
    this.#changes++
    host.changed(scaled)
  }

  /** What nothing is known of holds nobody back. */
  #strictest(): Scaled | undefined {
    const level = this.#load === undefined ? undefined : this.#levels?.rung
    let factor = level?.factor ?? 1
    let reason = `load ${level?.name}`
    for (const [name, { rung }] of this.#stages) {
      if (rung === UNCHANGED || rung.factor >= factor || !this.#values.has(name)) continue
      factor = rung.factor
      reason = `${name} ${rung.name}`
    }
    return factor === 1 ? undefined : Object.freeze({ factor, reason })
  }
}
