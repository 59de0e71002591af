import type { MaybePromise } from '../core/message.ts'
import type { MetricFamily } from './metric-family.ts'

/** Part of a store that metrics read. */
export interface StoreHealthSource {
  readonly name: string
  health(): MaybePromise<{
    readonly ok: boolean
    readonly state?: 'closed' | 'open' | 'half-open' | undefined
    readonly keys?: number | undefined
    readonly evictions?: number | undefined
    readonly overflows?: number | undefined
  }>
}

/** Returns the metrics of a store. Never rejects; a store whose health check fails is reported as down. */
export async function collectStoreMetrics(
  store: StoreHealthSource | undefined,
): Promise<readonly MetricFamily[]> {
  if (store === undefined) return []
  const labels = { store: store.name }
  const singleSample = (
    name: string,
    help: string,
    value: number | undefined,
    type: MetricFamily['type'] = 'gauge',
  ): MetricFamily[] => (value === undefined ? [] : [{ name, help, type, samples: [{ labels, value }] }])
  let health: Awaited<ReturnType<StoreHealthSource['health']>>
  try {
    health = await store.health()
  } catch {
    health = { ok: false }
  }
  const { ok, state, keys, evictions, overflows } = health
  return [
    ...singleSample('topicgate_store_up', '1 while the store itself decides, else 0.', ok ? 1 : 0),
    ...(state === undefined
      ? []
      : [
          {
            name: 'topicgate_store_breaker_state',
            help: 'State of the circuit breaker of the store: 1 for the current state.',
            type: 'gauge' as const,
            samples: ['closed', 'open', 'half-open'].map(each => ({
              labels: { ...labels, state: each },
              value: each === state ? 1 : 0,
            })),
          },
        ]),
    ...singleSample('topicgate_active_keys', 'Rate limit keys that the store keeps in this process.', keys),
    ...singleSample(
      'topicgate_evictions_total',
      'Keys evicted because a rule had too many.',
      evictions,
      'counter',
    ),
    ...singleSample(
      'topicgate_overflows_total',
      'Charges that shared a counter because a rule had too many keys.',
      overflows,
      'counter',
    ),
  ]
}
