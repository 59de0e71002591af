import { type LineChart, renderCharts } from '../plot/line-chart.ts'
import { formatCount, sanitizeForTerminal } from '../terminal/format.ts'
import type { BurstQuantiles } from './fit-limit.ts'
import { formatPerSecond } from './format-per-second.ts'
import type { SuggestedPolicy, SuggestedRule } from './suggested-policy.ts'

/** Renders, for each rule, the burst that its senders need at each rate, and the suggested limit. */
export function renderSuggestion({ capture, quantile, rules }: SuggestedPolicy): string {
  const title = `Bursts needed by the senders of ${sanitizeForTerminal(capture)}`
  return renderCharts(
    title,
    rules.map(rule => chartOf(rule, quantile)),
  )
}

function chartOf({ name, per, fit }: SuggestedRule, quantile: number): LineChart {
  // Rates far above all bursts, or below all means, show nothing.
  const last = fit.quantiles.findIndex(({ max }) => max <= 1)
  const lowest = fit.medianPerSecond / 10
  const shown = fit.quantiles.filter(
    ({ ratePerSecond }, index) => ratePerSecond >= lowest && (last < 0 || index <= last + 2),
  )
  const points = (part: 'p50' | 'p99' | 'chosen' | 'max') =>
    shown.map((each: BurstQuantiles) => [each.ratePerSecond, each[part]] as const)
  return {
    title: `rule ${name}: ${fit.limit} per ${per}`,
    description: `${formatCount(fit.keys)} keys, ${formatCount(fit.outliers.length)} outliers not shown. Confidence ${fit.confidence}.`,
    x: { label: 'rate', scale: 'log', format: formatPerSecond },
    y: { label: 'burst needed, messages', scale: 'log', format: formatCount },
    series: [
      { name: 'median', color: '#8250df', points: points('p50') },
      { name: 'p99', color: '#1f6feb', points: points('p99') },
      { name: `p${Number((quantile * 100).toFixed(3))}`, color: '#bf8700', points: points('chosen') },
      { name: 'most', color: '#57606a', points: points('max'), style: 'dashed' },
      { name: 'suggested', color: '#cf222e', points: [[fit.suggestedPerSecond, fit.burst]], style: 'dots' },
    ],
  }
}
