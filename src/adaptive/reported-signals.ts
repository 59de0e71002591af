import type { AdaptiveHost } from '../chain/rules/load-scaling.ts'
import { errorRate } from './app-signals.ts'
import type { Signal } from './signal-types.ts'

/** Signals reported by brokers and consumers, with the value of a load of 100 %. */
export const REPORTED_SIGNALS = { 'queue-depth': 1_000, 'error-rate': 1, 'consumer-lag': 10_000 } as const
export type ReportedSignalName = keyof typeof REPORTED_SIGNALS

/** The parts of a gate that signals use. */
export type LoadSignalHost = Pick<AdaptiveHost, 'loadSources' | 'onHandled'>

const REPORTERS = {
  'queue-depth': ['queueDepth', 'a limited broker or consumer'],
  'error-rate': ['handlers', 'a limited consumer'],
  'consumer-lag': ['consumerLag', 'a limited JetStream consumer'],
} as const satisfies Record<ReportedSignalName, readonly [measure: string, reporter: string]>

/**
 * Creates a signal reported by brokers and consumers: waiting messages of all of them; the share of handler
 * failures; the largest lag. If none reports it, reading it throws if it was requested, and returns undefined
 * otherwise.
 */
export function reportedSignal(
  name: ReportedSignalName,
  { full, isRequired }: { readonly full?: number | undefined; readonly isRequired: boolean },
  { loadSources, onHandled }: LoadSignalHost,
): Signal {
  const [measure, reporter] = REPORTERS[name]
  const errors = errorRate()
  const close = name === 'error-rate' ? onHandled((_message, { ok }) => errors.observe(ok)) : undefined
  const readers: Readonly<Record<ReportedSignalName, (nowMs: number) => number | undefined>> = {
    'queue-depth': () => loadSources.queueDepth(),
    'error-rate': nowMs => errors.read(nowMs),
    'consumer-lag': () => loadSources.consumerLag(),
  }
  let isFirst = true
  return {
    name,
    full: full ?? REPORTED_SIGNALS[name],
    read(nowMs) {
      const wasFirst = isFirst
      isFirst = false
      if (loadSources.reports(measure)) return readers[name](nowMs)
      // Not on the first reading, because a broker may be attached a moment later.
      if (isRequired && !wasFirst)
        throw new Error(`the signal ${name} has no source: attach ${reporter}, which reports it`)
      return undefined
    },
    close,
  }
}
