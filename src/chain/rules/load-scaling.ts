import type { Limit } from '../../algorithms/limit-types.ts'
import { multiplyLimit } from '../../algorithms/multiply-limit.ts'
import type { Clock } from '../../core/clock.ts'
import type { Scaled } from '../../core/decision.ts'
import type { Logger } from '../../core/logger.ts'
import type { Message } from '../../core/message.ts'
import type { Rule } from './create-limit-middleware.ts'
import type { HandlerResult } from './handler-feedback-types.ts'
import type { LoadSources } from './load-source-registry.ts'
import type { StateKeptAcrossReload } from './reload-state.ts'

/** The parts of a gate that adaptive middleware uses. */
export interface AdaptiveHost {
  readonly clock: Clock
  readonly logger: Logger
  /** Fixed load instead of a measured one, 0 to 1. `none` disables measuring and scaling. */
  readonly load?: number | 'none' | undefined
  /** Load reported by brokers and consumers. */
  readonly loadSources: LoadSources
  /** Adds a listener for handler results. The returned function removes it. */
  onHandled(listener: (message: Message, handled: HandlerResult) => void): () => void
  /** Joins the nodes of the gate's store under a name. Returns undefined if the store is not shared. */
  join(node: string | undefined, everyMs: number): LoadExchange | undefined
  /** Called after each change. */
  changed(scaled: Scaled | undefined): void
}

/** Load reported by a node: values by signal. */
export interface NodeLoad {
  readonly node: string
  readonly signals: ReadonlyMap<string, number>
}

/** Load of all nodes of a store. */
export interface LoadExchange {
  /**
   * Reports the local signals and returns those of the other live nodes. Resolves with undefined if the store
   * is unreachable. Never rejects.
   */
  exchange(signals: ReadonlyMap<string, number>): Promise<readonly NodeLoad[] | undefined>
  close(): void
}

/** Load measured by an adaptive middleware. */
export interface LoadReadings {
  /** Highest load, 0 to 1; undefined before the first reading. */
  readonly load: number | undefined
  /** Values of this node by signal, in the unit of the signal. */
  readonly signals: Readonly<Record<string, number>>
}

/** Metadata of middleware that scales the limits after it. */
export interface ScaleMeta {
  readonly kind: 'scale'
  readonly enabled: true
  readonly priority: 0
  readonly rule?: undefined
  /** Scope of the load: this node, or the worst of all nodes of the store. */
  readonly across: 'node' | 'fleet'
  /**
   * Returns the current factor; undefined if limits apply as written. The object is the same until the factor
   * changes.
   */
  scaled(): Scaled | undefined
  report(): LoadReadings
  /** Starts measuring for a gate. The returned function stops it. */
  attach(host: AdaptiveHost): () => void
  /** State with its measurements. The middleware is attached once for each value. */
  readonly state: StateKeptAcrossReload<object>
}

const SCALED = new WeakMap<Scaled, WeakMap<Rule, Rule>>()

/** Returns false for a quota, because a daily allowance does not depend on momentary load. */
export function isScalable({ reason }: Rule): boolean {
  return reason !== 'quota_exceeded'
}

/** Returns a scaled rule. It keeps its name, so that counts are kept. Quotas are not scaled. */
export function scaleRule(rule: Rule, scaled: Scaled): Rule {
  if (!isScalable(rule)) return rule
  let rules = SCALED.get(scaled)
  if (rules === undefined) {
    rules = new WeakMap()
    SCALED.set(scaled, rules)
  }
  let made = rules.get(rule)
  if (made === undefined) {
    const limit = scaleLimit(rule.limit, scaled.factor)
    made = limit === undefined ? rule : { ...rule, limit, scaled }
    // Cached, so that all plans use the same limit object.
    rules.set(rule, made)
  }
  return made
}

/** Returns a limit with rate and burst multiplied; undefined if it is too large to be counted exactly. */
function scaleLimit(limit: Limit, factor: number): Limit | undefined {
  try {
    return multiplyLimit(limit, Math.round(factor * 1000))
  } catch {
    return undefined
  }
}
