import { useMemo, useState } from 'preact/hooks'
import type { AlertList, Audit, Series, Summary } from '../api/types.ts'
import { marksOf, pointsOf, SPAN_INFO, SPANS, type Span, seriesPath } from '../format/chart-data.ts'
import { ticks } from '../state/live.ts'
import { useResource } from '../state/use-resource.ts'
import { Choices } from './choices.tsx'
import { TrafficChart } from './traffic-chart.tsx'
import { TrafficTable } from './traffic-table.tsx'

const SERIES_MS = 10_000
const MARKS_MS = 30_000
const FORMS = ['Chart', 'Table'] as const
const NO_ALERTS: AlertList = { firing: [], resolved: [] }

interface TrafficPanelProps {
  readonly summary: Summary
  readonly policyAppliedAtMs: number
}

/** Allowed and refused messages over time, as a chart or as a table. */
export function TrafficPanel({ summary, policyAppliedAtMs }: TrafficPanelProps) {
  const [span, setSpan] = useState<Span>('15m')
  const [form, setForm] = useState<(typeof FORMS)[number]>('Chart')
  const { data: series } = useResource<Series>(seriesPath(span), SERIES_MS)
  const { data: audit } = useResource<Audit>('audit?limit=200', MARKS_MS)
  const { data: alerts } = useResource<AlertList>('alerts', MARKS_MS)
  const info = SPAN_INFO[span]
  const latest = ticks.value
  const points = useMemo(
    () => pointsOf(span, series, latest, summary),
    [span, series, latest, info.step === undefined ? summary : undefined],
  )
  const endMs = points.at(-1)?.atMs ?? summary.toMs
  const marks = marksOf(audit?.records ?? [], alerts ?? NO_ALERTS, policyAppliedAtMs, endMs - info.lengthMs)
  return (
    <section class="panel" aria-labelledby="traffic-title">
      <div class="panel-head">
        <h2 id="traffic-title">Messages per {info.unit === 's' ? 'second' : info.unit}</h2>
        <p class="legend">
          <span class="swatch allowed" /> allowed <span class="swatch blocked" /> refused{' '}
          <span class="swatch mark" /> change or alert
        </p>
        <Choices label="Time span of the chart" options={SPANS} chosen={span} onChoose={setSpan} />
        <Choices label="Form of the data" options={FORMS} chosen={form} onChoose={setForm} />
      </div>
      {form === 'Table' ? (
        <TrafficTable span={span} points={points} marks={marks} />
      ) : (
        <TrafficChart span={span} points={points} marks={marks} endMs={endMs} />
      )}
    </section>
  )
}
