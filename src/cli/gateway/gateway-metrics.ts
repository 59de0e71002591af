import type { MqttGatewayStats, NatsGatewayStats } from '../../../brokers/gateway.ts'
import type { MetricFamily } from '../../index.ts'

/** Returns the metrics of a gateway. */
export function collectGatewayMetrics(stats: MqttGatewayStats | NatsGatewayStats): readonly MetricFamily[] {
  return [
    family('gauge', 'connections', 'Connected clients.', [{ labels: {}, value: stats.connections }]),
    family('counter', 'upstream_connects_total', 'Connections to brokers, by result.', [
      { labels: { result: 'connected' }, value: stats.upstreamConnects },
      { labels: { result: 'failed' }, value: stats.upstreamConnectsFailed },
    ]),
    family('counter', 'bytes_total', 'Bytes of closed connections, by direction.', [
      { labels: { direction: 'from_clients' }, value: stats.bytesFromClients },
      { labels: { direction: 'from_brokers' }, value: stats.bytesFromBroker },
    ]),
    ...('answers' in stats ? collectPacketMetrics(stats) : []),
    family(
      'counter',
      'paused_seconds_total',
      'Time in which a side was not read, because the other was slower.',
      [
        { labels: { side: 'clients' }, value: stats.clientsPausedMs / 1_000 },
        { labels: { side: 'brokers' }, value: stats.brokerPausedMs / 1_000 },
      ],
    ),
  ]
}

/** Returns the metrics of the packets of an MQTT gateway. */
function collectPacketMetrics(stats: MqttGatewayStats): readonly MetricFamily[] {
  return [
    family(
      'counter',
      'answers_total',
      'Packets that the gateway sent to clients itself, by type and reason code.',
      stats.answers.map(({ packet, code, count }) => ({
        labels: { packet, code: `0x${code.toString(16).padStart(2, '0')}` },
        value: count,
      })),
    ),
    family(
      'counter',
      'rewrites_total',
      'Packets that were changed on their way, by type.',
      stats.rewrites.map(({ packet, count }) => ({ labels: { packet }, value: count })),
    ),
  ]
}

function family(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  samples: MetricFamily['samples'],
): MetricFamily {
  return { name: `topicgate_gateway_${name}`, help, type, samples }
}
