import type { ScaleHost, ScaleStation } from '../chain/scale.ts'
import { type Entry, stationOf } from '../chain/steps.ts'

/** The scales of a gate's chain: each measures for as long as it stands there. */
export class Scales {
  readonly #host: ScaleHost
  readonly #attached = new Map<ScaleStation, () => void>()

  constructor(host: ScaleHost) {
    this.#host = host
  }

  /** Attaches those that are new in a chain, and ends those that are gone. */
  follow(entries: readonly Entry[]): void {
    const scales = new Set<ScaleStation>()
    for (const { middleware } of entries) {
      const station = stationOf(middleware)
      if (station?.kind === 'scale') scales.add(station)
    }
    for (const [station, end] of this.#attached) {
      if (scales.has(station)) continue
      this.#attached.delete(station)
      end()
    }
    for (const station of scales) {
      if (!this.#attached.has(station)) this.#attached.set(station, station.attach(this.#host))
    }
  }

  close(): void {
    for (const end of this.#attached.values()) end()
    this.#attached.clear()
  }
}
