import { collectMetrics, type MetricSources } from './collect-metrics.ts'
import type { Labels, MetricFamily } from './metric-family.ts'

/** Content type of the result of {@link renderMetrics}. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/**
 * Renders all metrics in the Prometheus text format, version 0.0.4. Labels are bounded, such as rules, scopes,
 * tiers and reasons; never a client, user, address or topic. Never rejects.
 */
export async function renderMetrics(sources: MetricSources): Promise<string> {
  const families = await collectMetrics(sources)
  return families.map(renderFamily).join('')
}

function renderFamily(family: MetricFamily): string {
  const { name, help, type, samples, histogram } = family
  const head = `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`
  const lines = samples.map(({ labels, value }) => `${name}${renderLabels(labels)} ${value}\n`)
  if (histogram !== undefined) {
    let cumulative = 0
    for (const [bucket, count] of histogram.counts.entries()) {
      cumulative += count
      const le = histogram.bounds[bucket] ?? '+Inf'
      lines.push(`${name}_bucket{le="${le}"} ${cumulative}\n`)
    }
    lines.push(`${name}_sum ${histogram.sum}\n`, `${name}_count ${cumulative}\n`)
  }
  return head + lines.join('')
}

function renderLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeValue(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escapeValue(value: string): string {
  // A lone surrogate is not valid UTF-8 and would break the whole scrape.
  const text = Buffer.from(value).toString()
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
