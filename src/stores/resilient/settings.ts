import { type Clock, systemClock } from '../../core/clock.ts'
import { policyError } from '../../core/errors.ts'
import { type Logger, SILENT } from '../../core/logger.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { FALLBACKS, type Fallback, type Store } from '../store.ts'

export interface ResilientStoreOptions {
  /** Store that may be slow or unreachable; closed together with this one. */
  readonly store: Store
  /** Longest duration of a decision before the fallback decides, in milliseconds. Default: 250. */
  readonly timeoutMs?: number | undefined
  /** Fallback for charges that name none. Default: memory. */
  readonly fallback?: Fallback | undefined
  /** Consecutive failures after which the breaker opens. Default: 5. */
  readonly threshold?: number | undefined
  /** Longest time the breaker stays open, in milliseconds. Default: 60,000. */
  readonly recoveryMs?: number | undefined
  /** Interval of health checks in milliseconds. Default: 30,000. */
  readonly healthEveryMs?: number | undefined
  /** Number of nodes that share the store; `degraded` divides limits by it. Default: 2. */
  readonly nodes?: number | undefined
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
}

const OPTIONS: KnownOptions<ResilientStoreOptions> = {
  store: true,
  timeoutMs: true,
  fallback: true,
  threshold: true,
  recoveryMs: true,
  healthEveryMs: true,
  nodes: true,
  clock: true,
  logger: true,
}

/** Checked and complete options. */
export interface ResilientSettings extends Required<Omit<ResilientStoreOptions, 'nodes'>> {
  readonly nodes: number | undefined
}

/** Checks the options and applies defaults. Throws PolicyError for an invalid option. */
export function completeResilientOptions(options: ResilientStoreOptions): ResilientSettings {
  checkOptionNames(options, OPTIONS)
  const { store, fallback = 'memory', nodes, clock = systemClock, logger = SILENT } = options
  if (!FALLBACKS.includes(fallback)) {
    throw policyError('fallback', `"${fallback}" is not a fallback`, `use one of ${FALLBACKS.join(', ')}`)
  }
  return {
    store,
    fallback,
    clock,
    logger,
    nodes: nodes === undefined ? undefined : checkPositiveInteger('nodes', nodes),
    timeoutMs: checkPositiveInteger('timeoutMs', options.timeoutMs ?? 250),
    threshold: checkPositiveInteger('threshold', options.threshold ?? 5),
    recoveryMs: checkPositiveInteger('recoveryMs', options.recoveryMs ?? 60_000),
    healthEveryMs: checkPositiveInteger('healthEveryMs', options.healthEveryMs ?? 30_000),
  }
}

function checkPositiveInteger(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw policyError(name, `${value} is not a whole number above 0`, `leave ${name} out for its default`)
}
