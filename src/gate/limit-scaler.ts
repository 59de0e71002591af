import { type ChainEntry, getMiddlewareMeta } from '../chain/routing/plan-steps.ts'
import type { AdaptiveHost, ScaleMeta } from '../chain/rules/load-scaling.ts'

/** Adaptive middleware of a gate's chain. Each one measures as long as it is in the chain. */
export class LimitScaler {
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

  close(): void {
    for (const stop of this.#running.values()) stop()
    this.#running.clear()
  }
}
