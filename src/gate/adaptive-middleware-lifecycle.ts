import { type ChainEntry, findScales, getMiddlewareMeta } from '../chain/routing/plan-steps.ts'
import { type AdaptiveHost, isScalable, type ScaleMeta } from '../chain/rules/load-scaling.ts'
import type { AdaptiveStats } from './gate-stats.ts'

/** Adaptive middleware of a gate's chain. Each one measures as long as it is in the chain. */
export class AdaptiveMiddlewareLifecycle {
  readonly #host: AdaptiveHost
  /** Functions that stop measuring, by the state that measures. */
  readonly #running = new Map<object, () => void>()

  constructor(host: AdaptiveHost) {
    this.#host = host
  }

  /** Starts new adaptive middleware of a chain and stops removed ones. */
  setEntries(entries: readonly ChainEntry[]): void {
    const current = new Map<object, ScaleMeta>()
    for (const { middleware } of entries) {
      const meta = getMiddlewareMeta(middleware)
      if (meta?.kind === 'scale') current.set(meta.state.value, meta)
    }
    // New ones first, because a failing start must change nothing.
    for (const [state, meta] of current)
      if (!this.#running.has(state)) this.#running.set(state, meta.attach(this.#host))
    for (const [state, stop] of this.#running) {
      if (current.has(state)) continue
      stop()
      this.#running.delete(state)
    }
  }

  /** Returns the state of the adaptive middleware of a chain; undefined if it has none. */
  stats(entries: readonly ChainEntry[]): AdaptiveStats | undefined {
    const metas = entries
      .map(({ middleware }) => getMiddlewareMeta(middleware))
      .filter(meta => meta?.kind === 'scale')
    if (metas.length === 0) return undefined
    let load: number | undefined
    const signals = new Map<string, number>()
    for (const meta of metas) {
      const report = meta.report()
      if (report.load !== undefined) load = Math.max(load ?? 0, report.load)
      for (const [name, value] of Object.entries(report.signals))
        signals.set(name, Math.max(signals.get(name) ?? -Infinity, value))
    }
    const factors = new Map<string, number>()
    for (const [{ middleware }, scale] of findScales(entries)) {
      const meta = getMiddlewareMeta(middleware)
      if (meta?.kind !== 'limit' || !meta.enabled || meta.rule === undefined) continue
      if (isScalable(meta.rule)) factors.set(meta.rule.name, scale.scaled()?.factor ?? 1)
    }
    return { load, signals, factors }
  }

  close(): void {
    for (const stop of this.#running.values()) stop()
    this.#running.clear()
  }
}
