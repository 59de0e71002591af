import { collectMetrics, type Family, type Labels, type MetricSources } from './metrics.ts'

/** The content type of what {@link renderMetrics} gives. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/**
 * All metrics in the text format of Prometheus, version 0.0.4. Labels name rules, scopes, tiers and reasons, which policies
 * bound, and never a client, user, address or topic. Rejects never.
 */
export async function renderMetrics(sources: MetricSources): Promise<string> {
  const families = await collectMetrics(sources)
  return families.map(renderFamily).join('')
}

function renderFamily(family: Family): string {
  const { name, help, type, samples, histogram } = family
  const head = `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`
  const lines = samples.map(({ labels, value }) => `${name}${renderLabels(labels)} ${value}\n`)
  if (histogram !== undefined) {
    let below = 0
    for (const [bucket, count] of histogram.counts.entries()) {
      below += count
      const le = histogram.bounds[bucket] ?? '+Inf'
      lines.push(`${name}_bucket{le="${le}"} ${below}\n`)
    }
    lines.push(`${name}_sum ${histogram.sum}\n`, `${name}_count ${below}\n`)
  }
  return head + lines.join('')
}

function renderLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeValue(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escapeValue(value: string): string {
  // A lone surrogate is no UTF-8, and would cost the whole scrape.
  const text = Buffer.from(value).toString()
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
