import { mqttGateway } from '../../../brokers/mqtt-gateway/index.ts'
import { Analytics } from '../../../src/analytics/analytics.ts'
import { collectGatewayMetrics } from '../../../src/cli/gateway/gateway-metrics.ts'
import { parseUpstream } from '../../../src/cli/upstreams/upstream.ts'
import { UpstreamPool } from '../../../src/cli/upstreams/upstream-pool.ts'
import { SILENT } from '../../../src/core/logger.ts'
import {
  adaptive,
  aimd,
  circuitBreaker,
  createSender,
  Gate,
  Guard,
  limit,
  MemoryStore,
  ResilientStore,
  Webhook,
} from '../../../src/index.ts'
import { collectMetrics } from '../../../src/metrics/collect-metrics.ts'
import { DecisionTimer } from '../../../src/metrics/decision-timer.ts'
import type { MetricFamily } from '../../../src/metrics/metric-family.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** Returns all metrics of a running gate that has every source of metrics. Each has a sample. */
export async function exportedMetrics(): Promise<readonly MetricFamily[]> {
  const clock = new FakeClock()
  const memory = new MemoryStore({ clock })
  await using store = new ResilientStore({ store: memory, timeoutMs: 250, fallback: 'memory', clock })
  await using gate = new Gate({ clock, store, load: 0.5 })
  await gate.apply({ rules: [{ name: 'policy', limit: '100/s' }] })
  gate.use(
    adaptive({ signals: ['cpu'] }),
    aimd({ startPerSecond: 1_000 }).admit,
    circuitBreaker().guard,
    limit({ name: 'trial', limit: '1/day', per: 'client', shadow: true }),
    limit({ name: 'burst', limit: '2/day', per: 'client', exceeded: 'drop' }),
  )
  const analytics = new Analytics({ gate })
  const durations = new DecisionTimer({ gate, every: 1 })
  const sender = createSender({ client: 'c' })
  const check = (): unknown => {
    // The feedback lets the next message pass.
    clock.advance(100)
    return gate.check({ topic: 't', sender, size: 1 })
  }
  for (let time = 0; time < 3; time++) await check()
  await memory.close()
  await check()
  const webhook = new Webhook({ url: 'http://127.0.0.1/', secret: 's', clock })
  return collectMetrics({ analytics, durations, store, guards: [new Guard(gate)], gate, webhook })
}

/** Returns the metrics that a gateway has besides. Each has a sample. */
export async function gatewayMetrics(): Promise<readonly MetricFamily[]> {
  await using gate = new Gate()
  const connectUpstream = (): Promise<never> => Promise.reject(new Error('there is no broker'))
  const gateway = mqttGateway(gate, { connectUpstream })
  const pool = new UpstreamPool({
    addresses: [parseUpstream('mqtt://127.0.0.1:1')],
    tls: undefined,
    sendsProxyHeader: false,
    logger: SILENT,
  })
  const stats = {
    ...gateway.stats(),
    answers: [{ packet: 'connack', code: 0x97, count: 1 }],
    rewrites: [{ packet: 'publish', count: 1 }],
  }
  pool.close()
  await gateway.close({ graceMs: 0 })
  return [...collectGatewayMetrics(stats), ...pool.collectMetrics()]
}
