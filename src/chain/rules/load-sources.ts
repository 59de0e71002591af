/** What a broker or consumer can tell of itself, each as far as it knows; asked now and then while it is attached. */
export interface LoadSource {
  /** Messages that wait now. */
  readonly queueDepth?: (() => number) | undefined
  /** How many messages its consumers are behind; undefined where that is not known yet. */
  readonly consumerLag?: () => number | undefined
  /** Whether it has handlers, whose failures it tells the gate's `handling`. */
  readonly handlers?: boolean | undefined
}

/** What the brokers and consumers of a gate tell of themselves: each adds itself when it is attached. */
export class LoadSources {
  readonly #sources = new Set<LoadSource>()

  /** Adds what one of them tells; the returned function ends it. */
  add(measured: LoadSource): () => void {
    this.#sources.add(measured)
    return () => void this.#sources.delete(measured)
  }

  /** Messages that wait at all of them; undefined where none tells. */
  queueDepth(): number | undefined {
    const depths = this.#told(({ queueDepth }) => queueDepth?.())
    return depths.length === 0 ? undefined : depths.reduce((sum, depth) => sum + depth, 0)
  }

  /** How far the one that is furthest behind is. */
  consumerLag(): number | undefined {
    const lags = this.#told(({ consumerLag }) => consumerLag?.())
    return lags.length === 0 ? undefined : Math.max(...lags)
  }

  /** Whether any of them tells a measure at all. */
  tells(name: keyof LoadSource): boolean {
    return [...this.#sources].some(source => Boolean(source[name]))
  }

  #told(read: (source: LoadSource) => number | undefined): readonly number[] {
    return [...this.#sources].map(read).filter(value => value !== undefined)
  }
}
