import type { GateEvents } from '../gate/gate.ts'

export type BreakerState = GateEvents['store'][0]['state']

/** Measurements of the last minute. */
export interface AlertReadings {
  readonly decisions: number
  /** 0 to 1; 0 without decisions. */
  readonly blockRate: number
  readonly perSecond: number
  /** Undefined if no decision was timed. */
  readonly p95Seconds: number | undefined
  /** `closed` if the store has no breaker. */
  readonly breaker: BreakerState
}

/** Condition of an alert. */
export interface AlertRule {
  readonly name: string
  readonly severity: 'info' | 'warning' | 'critical'
  /** Returns the value to compare, or undefined if unknown: the alert then keeps its state. */
  readonly value: (readings: AlertReadings) => number | undefined
  /** Returns true if there is enough data to fire. Default: always. Does not affect resolution. */
  readonly begins?: ((readings: AlertReadings) => boolean) | undefined
  /** The alert fires above this value. */
  readonly above: number
  /** The alert is resolved at or under this value, which is below `above`. */
  readonly clear: number
  readonly text: (value: number) => string
}

export interface AlertThresholds {
  /** Fraction of blocked decisions. Default: 0.3 and 0.5. */
  readonly blockRateWarning?: number | undefined
  readonly blockRateCritical?: number | undefined
  /** Minimum number of decisions per minute for a meaningful fraction. Default: 20. */
  readonly fewDecisions?: number | undefined
  /** Decisions per second. Default: 10,000. */
  readonly volumePerSecond?: number | undefined
  /** 95th percentile of the duration of decisions in seconds. Default: 0.1. */
  readonly slowSeconds?: number | undefined
}

/** Fraction of its threshold at which an alert is resolved. */
const RESOLVE_FRACTION = 0.9

/**
 * Default alerts: a block rate above 30 % (warning) and 50 % (critical), volume (info), slow decisions (warning), an
 * open breaker (critical).
 */
export function defaultAlerts(thresholds: AlertThresholds = {}): readonly AlertRule[] {
  const { blockRateWarning = 0.3, blockRateCritical = 0.5, fewDecisions = 20 } = thresholds
  const { volumePerSecond = 10_000, slowSeconds = 0.1 } = thresholds
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
  const begins = ({ decisions }: AlertReadings): boolean => decisions >= fewDecisions
  const blockRate = (readings: AlertReadings): number => readings.blockRate
  const blocked = (value: number): string => `${percent(value)} of decisions block`
  return [
    { ...rule('block_rate_warning', 'warning', blockRate, blockRateWarning, blocked), begins },
    { ...rule('block_rate_critical', 'critical', blockRate, blockRateCritical, blocked), begins },
    rule(
      'volume',
      'info',
      ({ perSecond }) => perSecond,
      volumePerSecond,
      value => `${Math.round(value)} decisions a second`,
    ),
    rule('slow_decisions', 'warning', p95Of, slowSeconds, slow),
    {
      name: 'breaker_open',
      severity: 'critical',
      value: ({ breaker }) => (breaker === 'closed' ? 0 : breaker === 'open' ? 1 : undefined),
      above: 0,
      clear: 0,
      text: value =>
        value === 0 ? 'the store decides again' : 'the store is unreachable, its fallback decides',
    },
  ]
}

/** Without decisions, none is slow. */
function p95Of({ p95Seconds, decisions }: AlertReadings): number | undefined {
  return p95Seconds ?? (decisions === 0 ? 0 : undefined)
}

function slow(value: number): string {
  return `one decision in twenty takes longer than ${Number(value.toPrecision(3))} s`
}

function rule(
  name: string,
  severity: AlertRule['severity'],
  value: AlertRule['value'],
  above: number,
  text: AlertRule['text'],
): AlertRule {
  return { name, severity, value, above, clear: above * RESOLVE_FRACTION, text }
}
