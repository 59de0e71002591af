/** Load of a broker or consumer. Polled while attached; omitted figures are unknown. */
export interface LoadSource {
  /** Number of waiting messages. */
  readonly queueDepth?: (() => number) | undefined
  /** Number of messages that its consumers are behind; undefined if unknown. */
  readonly consumerLag?: () => number | undefined
  /** True if it has handlers and reports their failures to the handler monitor. */
  readonly handlers?: boolean | undefined
}

/** Load of the brokers and consumers of a gate. Each adds itself when it is attached. */
export class LoadSources {
  readonly #sources = new Set<LoadSource>()

  /** Adds a source. The returned function removes it. */
  add(measured: LoadSource): () => void {
    this.#sources.add(measured)
    return () => void this.#sources.delete(measured)
  }

  /** Returns the number of waiting messages of all sources; undefined if none reports it. */
  queueDepth(): number | undefined {
    const depths = this.#reported(({ queueDepth }) => queueDepth?.())
    return depths.length === 0 ? undefined : depths.reduce((sum, depth) => sum + depth, 0)
  }

  /** Returns the largest lag of any source; undefined if none reports it. */
  consumerLag(): number | undefined {
    const lags = this.#reported(({ consumerLag }) => consumerLag?.())
    return lags.length === 0 ? undefined : Math.max(...lags)
  }

  /** Returns true if any source reports a figure. */
  reports(name: keyof LoadSource): boolean {
    return [...this.#sources].some(source => Boolean(source[name]))
  }

  #reported(read: (source: LoadSource) => number | undefined): readonly number[] {
    return [...this.#sources].map(read).filter(value => value !== undefined)
  }
}
