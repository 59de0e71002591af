import { collectMetrics, type MetricSources } from './collect-metrics.ts'
import { DURATION_BUCKETS } from './decision-timer.ts'
import type { Labels } from './metric-family.ts'

interface About {
  readonly description: string
  readonly unit?: string | undefined
  readonly advice?: { readonly explicitBucketBoundaries: number[] } | undefined
}

interface Result<Instrument> {
  observe(instrument: Instrument, value: number, labels: Labels): void
}

/** Used part of a meter of the OpenTelemetry API. */
export interface OtelMeter<Instrument> {
  createObservableCounter(name: string, about: About): Instrument
  createObservableGauge(name: string, about: About): Instrument
  createHistogram(name: string, about: About): { record(value: number): void }
  addBatchObservableCallback(
    read: (result: Result<Instrument>) => Promise<void>,
    instruments: Instrument[],
  ): void
  removeBatchObservableCallback(
    read: (result: Result<Instrument>) => Promise<void>,
    instruments: Instrument[],
  ): void
}

/**
 * Registers all metrics with an OpenTelemetry meter: `topicgate.requests` for `topicgate_requests_total`, and so on;
 * returns a function that unregisters them. Counts are read when the meter's reader collects; timed decisions are
 * recorded at once.
 */
export async function observeMetrics<Instrument>(
  meter: OtelMeter<Instrument>,
  sources: MetricSources,
): Promise<() => void> {
  const instruments = new Map<string, Instrument>()
  for (const { name, help, type } of await collectMetrics(sources)) {
    const about = { description: help }
    if (type === 'counter') instruments.set(name, meter.createObservableCounter(nameOf(name), about))
    else if (type === 'gauge') instruments.set(name, meter.createObservableGauge(nameOf(name), about))
  }
  const read = async (result: Result<Instrument>): Promise<void> => {
    for (const { name, samples } of await collectMetrics(sources)) {
      const instrument = instruments.get(name)
      if (instrument === undefined) continue
      for (const { labels, value } of samples) result.observe(instrument, value, labels)
    }
  }
  const all = [...instruments.values()]
  meter.addBatchObservableCallback(read, all)
  const unwatch = watchDurations(meter, sources)
  return () => {
    unwatch()
    meter.removeBatchObservableCallback(read, all)
  }
}

/** The API has no observable histogram, so each timed decision is recorded. */
function watchDurations<Instrument>(meter: OtelMeter<Instrument>, { durations }: MetricSources): () => void {
  if (durations === undefined) return () => {}
  const histogram = meter.createHistogram('topicgate.decision.duration', {
    description: 'Time from the question to the decision. A sample: one decision in so many is timed.',
    unit: 's',
    advice: { explicitBucketBoundaries: [...DURATION_BUCKETS] },
  })
  return durations.watch(seconds => histogram.record(seconds))
}

function nameOf(name: string): string {
  return name.replace(/_total$/, '').replaceAll('_', '.')
}
