import type { Measures } from '../chain/measures.ts'
import type { ScaleHost, ScaleStation } from '../chain/scale.ts'
import { type Entry, stationOf } from '../chain/steps.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Store } from '../stores/store.ts'
import { StoreFleet } from './fleet.ts'
import type { Handling } from './handling.ts'

/** The gate whose scales they are. */
export interface ScalesGate {
  readonly clock: Clock
  readonly logger: Logger
  readonly store: Store
  readonly measures: Measures
  readonly handling: Handling
}

/** The scales of a gate's chain: each measures for as long as it stands there. */
export class Scales {
  readonly #host: ScaleHost
  readonly #attached = new Map<ScaleStation, () => void>()

  /** `changed` is told after each change of a factor. */
  constructor(gate: ScalesGate, load: ScaleHost['load'], changed: ScaleHost['changed']) {
    const { clock, logger, store, measures } = gate
    const { notes } = store
    this.#host = {
      ...{ clock, logger, measures, changed },
      ...(load === undefined ? {} : { load }),
      onHandled: listener => gate.handling.on(listener),
      join: (node, everyMs) => notes && new StoreFleet({ notes, clock, logger, node, everyMs }),
    }
  }

  /** Attaches those that are new in a chain, and ends those that are gone. */
  follow(entries: readonly Entry[]): void {
    const scales = new Set<ScaleStation>()
    for (const { middleware } of entries) {
      const station = stationOf(middleware)
      if (station?.kind === 'scale') scales.add(station)
    }
    const gone = [...this.#attached.keys()].filter(station => !scales.has(station))
    for (const station of scales) {
      if (this.#attached.has(station)) continue
      // A policy that is loaded again measures on where it says the same.
      const heir = gone.findIndex(other => station.inherit(other))
      const [other] = heir < 0 ? [] : gone.splice(heir, 1)
      this.#attached.set(
        station,
        other === undefined ? station.attach(this.#host) : this.#attached.get(other)!,
      )
      if (other !== undefined) this.#attached.delete(other)
    }
    for (const station of gone) {
      this.#attached.get(station)!()
      this.#attached.delete(station)
    }
  }

  close(): void {
    for (const end of this.#attached.values()) end()
    this.#attached.clear()
  }
}
