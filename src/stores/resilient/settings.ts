import { type Clock, systemClock } from '../../core/clock.ts'
import { policyError } from '../../core/errors.ts'
import { type Logger, SILENT } from '../../core/logger.ts'
import { checkOptionNames, type OptionNames } from '../../core/option-names.ts'
import { FALLBACKS, type Fallback, type Store } from '../store.ts'

export interface ResilientStoreOptions {
  /** The store that may be slow or out of reach. Closed together with this one. */
  readonly store: Store
  /** How long a decision may take before the fallback makes it, in milliseconds. Default: 250. */
  readonly timeoutMs?: number | undefined
  /** Who answers in its place, for charges that do not say so themselves. Default: memory. */
  readonly fallback?: Fallback | undefined
  /** Failures in a row after which the store is left alone. Default: 5. */
  readonly threshold?: number | undefined
  /** How long it is left alone at the most, in milliseconds. Default: 60,000. */
  readonly recoveryMs?: number | undefined
  /** How often its health is asked for, in milliseconds. Default: 30,000. */
  readonly healthEveryMs?: number | undefined
  /** How many nodes share the store: `degraded` then takes its share of each limit; where unknown, the half. */
  readonly nodes?: number | undefined
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
}

const OPTIONS: OptionNames<ResilientStoreOptions> = {
  ...{ store: true, timeoutMs: true, fallback: true, threshold: true, recoveryMs: true, healthEveryMs: true },
  ...{ nodes: true, clock: true, logger: true },
}

/** The options, checked and complete. */
export interface Settings extends Required<Omit<ResilientStoreOptions, 'nodes'>> {
  readonly nodes: number | undefined
}

/** Throws PolicyError for an option that makes no sense. */
export function settingsOf(options: ResilientStoreOptions): Settings {
  checkOptionNames(options, OPTIONS)
  const { store, fallback = 'memory', nodes, clock = systemClock, logger = SILENT } = options
  if (!FALLBACKS.includes(fallback)) {
    throw policyError('fallback', `"${fallback}" is no fallback`, `use one of ${FALLBACKS.join(', ')}`)
  }
  return {
    ...{ store, fallback, clock, logger },
    nodes: nodes === undefined ? undefined : whole('nodes', nodes),
    timeoutMs: whole('timeoutMs', options.timeoutMs ?? 250),
    threshold: whole('threshold', options.threshold ?? 5),
    recoveryMs: whole('recoveryMs', options.recoveryMs ?? 60_000),
    healthEveryMs: whole('healthEveryMs', options.healthEveryMs ?? 30_000),
  }
}

function whole(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw policyError(name, `${value} is not a whole number above 0`, `leave ${name} out for its default`)
}
