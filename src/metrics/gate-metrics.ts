import type { Gate } from '../gate/gate.ts'
import type { GateStats, PolicyStats } from '../gate/gate-stats.ts'
import { type MetricFamily, singleValue } from './metric-family.ts'

/** Returns the metrics of the policy, the runtime entries and the adaptive limits of a gate. */
export function collectGateMetrics(gate: Gate | undefined): readonly MetricFamily[] {
  if (gate === undefined) return []
  const { policy, runtimeEntries, adaptive, handlers } = gate.stats()
  return [
    ...policyMetrics(policy),
    {
      name: 'topicgate_runtime_entries',
      help: 'Runtime entries in effect by kind. Nodes of a shared store have the same.',
      type: 'gauge',
      samples: Object.entries(runtimeEntries).map(([kind, value]) => ({ labels: { kind }, value })),
    },
    ...adaptiveMetrics(adaptive),
    ...handlerMetrics(handlers),
  ]
}

function policyMetrics({ applied, refused, isLastApplied }: PolicyStats): readonly MetricFamily[] {
  return [
    singleValue(
      'topicgate_policy_applied_timestamp_seconds',
      'Time at which the policy in force was applied, in seconds since the epoch.',
      'gauge',
      applied && applied.atMs / 1_000,
    ),
    {
      name: 'topicgate_policy_info',
      help: 'Always 1. The fingerprint identifies the content of the policy in force, without its secrets.',
      type: 'gauge',
      samples: applied === undefined ? [] : [{ labels: { fingerprint: applied.fingerprint }, value: 1 }],
    },
    singleValue(
      'topicgate_policy_refused_total',
      'Policies that were not applied because they were invalid or could not be read.',
      'counter',
      refused,
    ),
    singleValue(
      'topicgate_policy_last_reload_successful',
      '0 if the last policy was refused, so that an older one is in force, else 1.',
      'gauge',
      isLastApplied ? 1 : 0,
    ),
  ]
}

function adaptiveMetrics(adaptive: GateStats['adaptive']): readonly MetricFamily[] {
  const { load, signals = [], factors = [] } = adaptive ?? {}
  return [
    singleValue('topicgate_adaptive_load_ratio', 'Load that adaptive limits follow, 0 to 1.', 'gauge', load),
    {
      name: 'topicgate_adaptive_signal',
      help: 'Last value of each signal of adaptive limits on this node, in the unit of the signal.',
      type: 'gauge',
      samples: [...signals].map(([signal, value]) => ({ labels: { signal }, value })),
    },
    {
      name: 'topicgate_adaptive_factor',
      help: 'Factor of the limit of each rule that follows the load; 1 if it applies as written.',
      type: 'gauge',
      samples: [...factors].map(([rule, value]) => ({ labels: { rule }, value })),
    },
  ]
}

function handlerMetrics(handlers: GateStats['handlers']): readonly MetricFamily[] {
  return [
    {
      name: 'topicgate_feedback_rate',
      help: 'Messages per second that feedback lets pass to handlers, by the name in its refusals.',
      type: 'gauge',
      samples: handlers.flatMap(({ id, perSecond }) =>
        perSecond === undefined ? [] : [{ labels: { rule: id }, value: perSecond }],
      ),
    },
    {
      name: 'topicgate_handler_breaker_open_keys',
      help: 'Keys for which the circuit breaker of handlers is open or half-open, by the name in its refusals.',
      type: 'gauge',
      samples: handlers.flatMap(({ id, openKeys }) =>
        openKeys === undefined ? [] : [{ labels: { rule: id }, value: openKeys }],
      ),
    },
  ]
}
