import { collectMetrics, type MetricSources } from './collect-metrics.ts'
import type { Labels, MetricFamily } from './metric-family.ts'

/** Used part of a prom-client registry. */
export interface PromRegistry {
  registerMetric(metric: never): void
  removeSingleMetric(name: string): void
}

interface Value {
  readonly metricName?: string | undefined
  readonly labels: Labels | { readonly le: number | string }
  readonly value: number
}

/**
 * Registers all metrics with a prom-client registry (14 or 15), under the names of {@link renderMetrics}; returns a
 * function that removes them. Metrics are collected on each scrape; decisions get no slower. Throws if a name is
 * taken.
 */
export async function registerMetrics(registry: PromRegistry, sources: MetricSources): Promise<() => void> {
  let reading: Promise<ReadonlyMap<string, MetricFamily>> | undefined
  const read = (): Promise<ReadonlyMap<string, MetricFamily>> => {
    // The registry collects each metric separately: those collected together share one reading.
    reading ??= collectMetrics(sources)
      .then(families => new Map(families.map(family => [family.name, family])))
      .finally(() => {
        reading = undefined
      })
    return reading
  }
  const names: string[] = []
  for (const { name, help, type } of (await read()).values()) {
    const get = async (): Promise<object> => {
      const family = (await read()).get(name)
      return { name, help, type, aggregator: 'sum', values: family === undefined ? [] : valuesOf(family) }
    }
    registry.registerMetric({ name, help, type, get, reset() {} } as never)
    names.push(name)
  }
  return () => {
    for (const name of names) registry.removeSingleMetric(name)
  }
}

function valuesOf({ name, samples, histogram }: MetricFamily): readonly Value[] {
  if (histogram === undefined) return samples
  let cumulative = 0
  const buckets = histogram.counts.map((count, bucket) => {
    cumulative += count
    return {
      metricName: `${name}_bucket`,
      labels: { le: histogram.bounds[bucket] ?? '+Inf' },
      value: cumulative,
    }
  })
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels: {}, value: histogram.sum },
    { metricName: `${name}_count`, labels: {}, value: cumulative },
  ]
}
