import { type Entry, metaOf } from '../chain/routing/plan-steps.ts'
import type { ScaleHost, ScaleMeta } from '../chain/rules/limit-scaling.ts'
import type { LoadSources } from '../chain/rules/load-sources.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Store } from '../stores/store.ts'
import { StoreClusterLoad } from './cluster-load.ts'
import type { HandlerMonitor } from './handler-monitor.ts'

/** The gate whose scales they are. */
export interface ScaledGate {
  readonly clock: Clock
  readonly logger: Logger
  readonly store: Store
  readonly loadSources: LoadSources
  readonly handlerMonitor: HandlerMonitor
}

/** The scales of a gate's chain: each measures for as long as it stands there. */
export class LimitScaler {
  readonly #host: ScaleHost
  readonly #attached = new Map<ScaleMeta, () => void>()

  /** `changed` is told after each change of a factor. */
  constructor(gate: ScaledGate, load: ScaleHost['load'], changed: ScaleHost['changed']) {
    const { clock, logger, store, loadSources } = gate
    const { sharedEntries } = store
    this.#host = {
      ...{ clock, logger, loadSources, changed },
      ...(load === undefined ? {} : { load }),
      onHandled: listener => gate.handlerMonitor.on(listener),
      join: (node, everyMs) =>
        sharedEntries && new StoreClusterLoad({ sharedEntries, clock, logger, node, everyMs }),
    }
  }

  /** Attaches those that are new in a chain, and ends those that are gone. */
  follow(entries: readonly Entry[]): void {
    const limitScaler = new Set<ScaleMeta>()
    for (const { middleware } of entries) {
      const meta = metaOf(middleware)
      if (meta?.kind === 'scale') limitScaler.add(meta)
    }
    const gone = [...this.#attached.keys()].filter(meta => !limitScaler.has(meta))
    for (const meta of limitScaler) {
      if (this.#attached.has(meta)) continue
      // A policy that is loaded again measures on where it says the same.
      const heir = gone.findIndex(other => meta.inherit(other))
      const [other] = heir < 0 ? [] : gone.splice(heir, 1)
      this.#attached.set(meta, other === undefined ? meta.attach(this.#host) : this.#attached.get(other)!)
      if (other !== undefined) this.#attached.delete(other)
    }
    for (const meta of gone) {
      this.#attached.get(meta)!()
      this.#attached.delete(meta)
    }
  }

  close(): void {
    for (const end of this.#attached.values()) end()
    this.#attached.clear()
  }
}
