import type { Limit } from '../../algorithms/limit.ts'
import { multiplyLimit } from '../../algorithms/rescale-limit.ts'
import type { Clock } from '../../core/clock.ts'
import type { Scaled } from '../../core/decision.ts'
import type { Logger } from '../../core/logger.ts'
import type { Message } from '../../core/message.ts'
import type { Handled } from './handler-feedback.ts'
import type { LoadSources } from './load-sources.ts'
import type { Rule } from './rule.ts'

/** What a scale needs of the gate that goes by it. */
export interface ScaleHost {
  readonly clock: Clock
  readonly logger: Logger
  /** The load to go by instead of a measured one, 0 to 1; `none` measures nothing and scales nothing. */
  readonly load?: number | 'none' | undefined
  /** What brokers and consumers tell of themselves. */
  readonly loadSources: LoadSources
  /** Has a listener told of each message that a handler is done with; the returned function ends it. */
  onHandled(listener: (message: Message, handled: Handled) => void): () => void
  /** Joins the nodes of the gate's store, under a name; undefined where the store is of this node alone. */
  join(node: string | undefined, everyMs: number): ClusterLoad | undefined
  /** Told after each change. */
  changed(scaled: Scaled | undefined): void
}

/** What a node has told of its load: values by signal. */
export interface NodeLoad {
  readonly node: string
  readonly signals: ReadonlyMap<string, number>
}

/** The nodes of one store, as one of them sees them. */
export interface ClusterLoad {
  /**
   * Tells the others what was measured here, and gives what those that live have told; undefined where the store is out
   * of reach. Never rejects.
   */
  exchange(signals: ReadonlyMap<string, number>): Promise<readonly NodeLoad[] | undefined>
  leave(): void
}

/** What a middleware tells the gate that scales the limits after it. */
export interface ScaleMeta {
  readonly kind: 'scale'
  readonly enabled: true
  readonly priority: 0
  readonly rule?: undefined
  /** Whose load counts: that of this node, or the worst of all nodes of the store. */
  readonly across: 'node' | 'fleet'
  /** In force now; undefined where limits are as they are written. One object until it changes. */
  scaled(): Scaled | undefined
  /** Begins to measure for a gate; the returned function ends it. */
  attach(host: ScaleHost): () => void
  /** Goes on with what another has found at the same gate, where it would measure the same; false where not. */
  inherit(other: ScaleMeta): boolean
}

const SCALED = new WeakMap<Scaled, WeakMap<Rule, Rule>>()

/**
 * A rule under a scale: it counts on under its own name, so nothing that was used is given back. Quotas are left as
 * they are: what was promised for a day is no matter of the load of a minute.
 */
export function scaleRule(rule: Rule, scaled: Scaled): Rule {
  if (rule.reason === 'quota_exceeded') return rule
  let rules = SCALED.get(scaled)
  if (rules === undefined) {
    rules = new WeakMap()
    SCALED.set(scaled, rules)
  }
  let made = rules.get(rule)
  if (made === undefined) {
    const limit = scaleLimit(rule.limit, scaled.factor)
    made = limit === undefined ? rule : { ...rule, limit, scaled }
    // One object for a rule: all plans then count by the same limit.
    rules.set(rule, made)
  }
  return made
}

/** A limit at so many times its rate and burst; undefined where it is too large to be counted exactly. */
function scaleLimit(limit: Limit, factor: number): Limit | undefined {
  try {
    return multiplyLimit(limit, Math.round(factor * 1000))
  } catch {
    return undefined
  }
}
