import { type Entry, metaOf } from '../chain/routing/plan-steps.ts'
import type { ScaleHost, ScaleMeta } from '../chain/rules/limit-scaling.ts'
import type { LoadSources } from '../chain/rules/load-sources.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Store } from '../stores/store.ts'
import { StoreClusterLoad } from './cluster-load.ts'
import type { HandlerMonitor } from './handler-monitor.ts'

/** The gate whose limits are scaled. */
export interface ScaledGate {
  readonly clock: Clock
  readonly logger: Logger
  readonly store: Store
  readonly loadSources: LoadSources
  readonly handlerMonitor: HandlerMonitor
}

/** Adaptive middleware of a gate's chain. Each one measures as long as it is in the chain. */
export class LimitScaler {
  readonly #host: ScaleHost
  readonly #attached = new Map<ScaleMeta, () => void>()

  /** `changed` is called after each change of a factor. */
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

  /** Attaches new adaptive middleware of a chain and detaches removed ones. */
  follow(entries: readonly Entry[]): void {
    const current = new Set<ScaleMeta>()
    for (const { middleware } of entries) {
      const meta = metaOf(middleware)
      if (meta?.kind === 'scale') current.add(meta)
    }
    const gone = [...this.#attached.keys()].filter(meta => !current.has(meta))
    for (const meta of current) {
      if (this.#attached.has(meta)) continue
      // After a reload, middleware with the same settings keeps its measurements.
      const index = gone.findIndex(predecessor => meta.inherit(predecessor))
      const [predecessor] = index < 0 ? [] : gone.splice(index, 1)
      this.#attached.set(
        meta,
        predecessor === undefined ? meta.attach(this.#host) : this.#attached.get(predecessor)!,
      )
      if (predecessor !== undefined) this.#attached.delete(predecessor)
    }
    for (const meta of gone) {
      this.#attached.get(meta)!()
      this.#attached.delete(meta)
    }
  }

  close(): void {
    for (const detach of this.#attached.values()) detach()
    this.#attached.clear()
  }
}
