import { checkWithPathPrefix, policyError } from '../core/errors.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { parseDuration } from '../core/units.ts'
import type { LeaseSetting, LeaseSizeSetting } from './leased/open.ts'
import type { BreakerSettings, ResilienceOptions } from './resilient/open.ts'

/** Store as written in a policy. The constructors of the stores document the defaults. */
export interface StoreSpec extends ResilienceOptions {
  /** `memory`, `sqlite:./limits.db`, `redis://…`, `nats://…` and their variants. */
  readonly url: string
  /** Timeout as written in a policy, such as `250ms`; an alternative to `timeoutMs`. */
  readonly timeout?: string | undefined
  /** Prefix of every key of a shared store; the bucket name on NATS. */
  readonly prefix?: string | undefined
  /**
   * Leases: units taken in advance and decided on locally. Default: `auto` on NATS, else `none` (ask for every
   * message).
   */
  readonly lease?: LeaseSetting | undefined
}

const SPEC: KnownOptions<StoreSpec> = {
  url: true,
  prefix: true,
  timeout: true,
  timeoutMs: true,
  lease: true,
  fallback: true,
  nodes: true,
  breaker: true,
}
const BREAKER: KnownOptions<BreakerSettings> = {
  threshold: true,
  recovery: true,
  recoveryMs: true,
  health: true,
  healthEveryMs: true,
}
const LEASE: KnownOptions<LeaseSizeSetting> = { units: true, ttl: true, ttlMs: true }

/**
 * Returns store options with durations in milliseconds, such as `timeoutMs: 250` for `timeout: '250ms'`. Throws
 * PolicyError for an unknown option.
 */
export function parseStoreOptions(spec: StoreSpec): StoreSpec {
  checkOptionNames(spec, SPEC)
  const { timeout, breaker, lease, ...rest } = spec
  const timeoutMs = millisecondsOf('timeout', timeout, 'timeoutMs', spec.timeoutMs)
  return {
    ...rest,
    timeoutMs,
    breaker: breaker && readBreaker(breaker),
    lease: lease && parseLeaseSetting(lease),
  }
}

/** Parses circuit breaker options. Throws PolicyError as {@link parseStoreOptions}. */
export function readBreaker(breaker: BreakerSettings): BreakerSettings {
  checkOptionNames(breaker, BREAKER, 'breaker')
  const { threshold, recovery, health } = breaker
  const recoveryMs = millisecondsOf('breaker.recovery', recovery, 'breaker.recoveryMs', breaker.recoveryMs)
  const healthEveryMs = millisecondsOf(
    'breaker.health',
    health,
    'breaker.healthEveryMs',
    breaker.healthEveryMs,
  )
  return { threshold, recoveryMs, healthEveryMs }
}

/** Parses lease options. Throws PolicyError as {@link parseStoreOptions}. */
export function parseLeaseSetting(lease: LeaseSetting): LeaseSetting {
  if (typeof lease === 'string') return lease
  checkOptionNames(lease, LEASE, 'lease')
  const { ttl, units } = lease
  const ttlMs = millisecondsOf('lease.ttl', ttl, 'lease.ttlMs', lease.ttlMs)
  return { units, ttlMs }
}

function millisecondsOf(
  path: string,
  text: string | undefined,
  numberPath: string,
  ms: number | undefined,
): number | undefined {
  if (text === undefined) return ms
  if (ms !== undefined) throw policyError(path, `${numberPath} is set too`, 'write one of them')
  return checkWithPathPrefix(path, () => parseDuration(text))
}
