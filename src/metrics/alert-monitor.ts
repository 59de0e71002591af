import type { Analytics, DecisionTotals } from '../analytics/analytics.ts'
import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import { type Logger, SILENT } from '../core/logger.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import type { Gate } from '../gate/gate.ts'
import { type AlertReadings, type AlertRule, type BreakerState, defaultAlerts } from './alert-conditions.ts'
import { type DecisionTimer, type DurationCounts, quantileOf } from './decision-timer.ts'

export type { AlertReadings, AlertRule } from './alert-conditions.ts'

/** Alert that fires or is resolved. */
export interface Alert {
  /** Id of the occurrence: the same when it fires and when it is resolved. */
  readonly id: string
  readonly name: string
  readonly severity: 'info' | 'warning' | 'critical'
  readonly state: 'firing' | 'resolved'
  readonly text: string
  /** Measured value: a fraction, decisions per second, seconds, or 1. */
  readonly value: number
  readonly threshold: number
  readonly sinceMs: number
  readonly atMs: number
}

export interface AlertsOptions {
  readonly gate: Gate
  readonly analytics: Analytics
  /** Required for the alert on slow decisions. */
  readonly durations?: DecisionTimer | undefined
  /** Default: the gate's. */
  readonly clock?: Clock | undefined
  /** Default: {@link defaultAlerts}. */
  readonly rules?: readonly AlertRule[] | undefined
  /**
   * Called with each alert when it fires and when it is resolved, for example a webhook's `send`. Errors are logged.
   */
  readonly onAlert: (alert: Alert) => void
  readonly logger?: Logger | undefined
  /** Check interval and measured time span. Default: 10,000 and 60,000. */
  readonly everyMs?: number | undefined
  readonly windowMs?: number | undefined
}

const OPTIONS: KnownOptions<AlertsOptions> = {
  gate: true,
  analytics: true,
  durations: true,
  clock: true,
  rules: true,
  onAlert: true,
  logger: true,
  everyMs: true,
  windowMs: true,
}

interface Reading extends DecisionTotals {
  readonly atMs: number
  readonly durations: DurationCounts | undefined
}

interface Firing {
  readonly id: string
  readonly sinceMs: number
  readonly alert: Alert
}

/**
 * Monitors a gate. An alert fires when its value is above its threshold and is resolved at or under its `clear`
 * value; in between it keeps its state, so that a value near the threshold does not flap.
 */
export class Alerts {
  readonly #options: AlertsOptions
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #rules: readonly AlertRule[]
  readonly #everyMs: number
  readonly #readings: Reading[] = []
  readonly #maxReadings: number
  readonly #firing = new Map<string, Firing>()
  readonly #listeners = new Set<(alert: Alert) => void>()
  #breaker: BreakerState = 'closed'
  #count = 0
  #cancel: () => void
  readonly #onStore = (event: { readonly state: BreakerState }): void => {
    this.#breaker = event.state
    this.evaluate()
  }

  /** Throws PolicyError for rules of the same name, or for one that would flap. */
  constructor(options: AlertsOptions) {
    checkOptionNames(options, OPTIONS)
    const { gate, clock = gate.clock, rules = defaultAlerts(), everyMs = 10_000, windowMs = 60_000 } = options
    for (const [index, { name, above, clear }] of rules.entries()) {
      const path = `rules[${index}]`
      if (rules.findIndex(other => other.name === name) !== index)
        throw policyError(path, `"${name}" is the name of two alerts`, 'use unique names')
      if (!(clear < above || above === 0))
        throw policyError(path, `"${name}" would flap: clear is not below above`, 'lower clear')
    }
    this.#options = options
    this.#clock = clock
    this.#logger = options.logger ?? SILENT
    this.#rules = rules
    this.#everyMs = everyMs
    this.#maxReadings = Math.max(1, Math.ceil(windowMs / everyMs)) + 1
    this.#readings.push(this.#measure())
    gate.on('store', this.#onStore)
    this.#cancel = this.#schedule()
  }

  /** Returns the names of the firing alerts. */
  firing(): readonly string[] {
    return [...this.#firing.keys()]
  }

  /** Returns the alerts that fire now, as they were when they began. */
  active(): readonly Alert[] {
    return [...this.#firing.values()].map(({ alert }) => alert)
  }

  /** Calls a listener with each alert when it fires and when it is resolved; returns a function that removes it. */
  watch(listener: (alert: Alert) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Checks now; also called at each interval and when the store's breaker changes. */
  evaluate(): void {
    const now = this.#measure()
    const before = this.#readings[0]!
    const readings = this.#readingsBetween(before, now)
    for (const rule of this.#rules) this.#evaluate(rule, readings, now.atMs)
  }

  close(): void {
    this.#cancel()
    this.#options.gate.off('store', this.#onStore)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  #schedule(): () => void {
    return this.#clock.after(this.#everyMs, () => {
      this.evaluate()
      this.#readings.push(this.#measure())
      while (this.#readings.length >= this.#maxReadings) this.#readings.shift()
      this.#cancel = this.#schedule()
    })
  }

  #measure(): Reading {
    const { analytics, durations } = this.#options
    return { ...analytics.totals(), atMs: this.#clock.now(), durations: durations?.counts() }
  }

  #readingsBetween(before: Reading, now: Reading): AlertReadings {
    const total = now.total - before.total
    // A burst right after the start is not a rate.
    const seconds = Math.max(this.#everyMs, now.atMs - before.atMs) / 1_000
    return {
      decisions: total,
      blockRate: total === 0 ? 0 : (now.blocked - before.blocked) / total,
      perSecond: total / seconds,
      p95Seconds: now.durations && quantileOf(0.95, before.durations, now.durations),
      breaker: this.#breaker,
    }
  }

  #evaluate(rule: AlertRule, readings: AlertReadings, nowMs: number): void {
    const value = rule.value(readings)
    const firing = this.#firing.get(rule.name)
    // Unknown value: the alert keeps its state.
    if (value === undefined) return
    if (firing === undefined && value > rule.above && (rule.begins?.(readings) ?? true)) {
      const id = `${rule.name}-${nowMs}-${++this.#count}`
      const alert = createAlert(rule, { id, sinceMs: nowMs }, 'firing', value, nowMs)
      this.#firing.set(rule.name, { id, sinceMs: nowMs, alert })
      this.#report(alert)
    } else if (firing !== undefined && value <= rule.clear) {
      this.#firing.delete(rule.name)
      this.#report(createAlert(rule, firing, 'resolved', value, nowMs))
    }
  }

  #report(alert: Alert): void {
    const { state, severity, text } = alert
    if (state === 'resolved' || severity === 'info') this.#logger.info(alert, text)
    else this.#logger.warn(alert, text)
    for (const notify of [this.#options.onAlert, ...this.#listeners]) {
      try {
        notify(alert)
      } catch (err) {
        this.#logger.error({ err, alert: alert.name }, 'a listener of alerts threw')
      }
    }
  }
}

function createAlert(
  rule: AlertRule,
  { id, sinceMs }: Pick<Firing, 'id' | 'sinceMs'>,
  state: Alert['state'],
  value: number,
  atMs: number,
): Alert {
  const { name, severity, above: threshold } = rule
  const text = state === 'firing' ? rule.text(value) : `over: ${rule.text(value)}`
  return { id, name, severity, state, text, value, threshold, sinceMs, atMs }
}
