import type { AlgorithmName, Limit } from '../../algorithms/limit-types.ts'
import { policyError } from '../../core/errors.ts'

/** Lease sizes; see {@link leaseTermsOf}. */
export interface LeaseOptions {
  /** Units per lease, or `auto`: the units this node uses in `spanMs`. Default: auto. 1 disables leases. */
  readonly units?: number | 'auto' | undefined
  /** Time after which a lease expires and its unspent units are returned, in milliseconds. Default: 2000. */
  readonly ttlMs?: number | undefined
  /** Time that an `auto` lease lasts at the rate of this node, in milliseconds. Default: 75. */
  readonly spanMs?: number | undefined
  /** Maximum number of nodes; they share the tolerance. Default: 8. */
  readonly nodes?: number | undefined
  /** Fraction of a limit's capacity that all `auto` leases may hold together. Default: 0.1. */
  readonly tolerance?: number | undefined
}

/** Checked and complete lease options. */
export interface LeaseSettings {
  readonly units: number | 'auto'
  readonly ttlMs: number
  readonly spanMs: number
  readonly nodes: number
  readonly tolerance: number
}

/** Lease bounds of one limit. */
export interface LeaseTerms {
  /** Maximum grains a node may hold of a key; 0 if every message asks the store. */
  readonly maxGrains: number
  /** True if a lease is always requested at full size instead of by the node's rate. */
  readonly isFixed: boolean
  /** True if a lease ends with the limit's window. */
  readonly isWindowed: boolean
}

/**
 * Algorithms that support leases. Leaky buckets and sliding windows depend on when each unit is spent, so their units
 * cannot be spent in advance; custom algorithms are unknown.
 */
const LEASE_KINDS: ReadonlyMap<string, 'refilled' | 'windowed'> = new Map<
  AlgorithmName,
  'refilled' | 'windowed'
>([
  ['token-bucket', 'refilled'],
  ['fixed-window', 'windowed'],
  ['quota', 'windowed'],
])

/** Shorter windows could end while a lease is in transit. */
const MIN_WINDOW_MS = 250
/** Smaller leases gain nothing: such a limit stays exact. */
const MIN_UNITS = 2
/** Shortest span of a rate measurement, so that a single burst is not taken for a rate. */
const MIN_SPAN_MS = 10
/**
 * Refill within this time counts as available when a limit is nearly spent, so that leases do not shrink to nothing.
 */
const REFILL_MS = 50

/** Checks lease options and applies defaults. Throws PolicyError. */
export function parseLeaseOptions(options: LeaseOptions): LeaseSettings {
  const { units = 'auto', ttlMs = 2_000, spanMs = 75, nodes = 8, tolerance = 0.1 } = options
  if (units !== 'auto') checkPositiveInteger('units', units, '"auto" or a whole number of at least 1')
  checkPositiveInteger('ttlMs', ttlMs, 'whole milliseconds, at least 1')
  checkPositiveInteger('spanMs', spanMs, 'whole milliseconds, at least 1')
  checkPositiveInteger('nodes', nodes, 'a whole number of at least 1')
  if (!(tolerance > 0 && tolerance <= 1)) {
    throw policyError('tolerance', `${tolerance} is not a fraction`, 'use a number above 0, up to 1')
  }
  return { units, ttlMs, spanMs, nodes, tolerance }
}

function checkPositiveInteger(path: string, value: number, remedy: string): void {
  if (!Number.isSafeInteger(value) || value < 1)
    throw policyError(path, `${value} is not allowed`, `use ${remedy}`)
}

/**
 * Returns the lease bounds of a limit; undefined if every charge goes to the shared store and refusals are not
 * cached.
 */
export function leaseTermsOf(limit: Limit, settings: LeaseSettings): LeaseTerms | undefined {
  const kind = LEASE_KINDS.get(limit.algorithm)
  if (kind === undefined || limit.custom !== undefined || settings.units === 1) return undefined
  const isFixed = settings.units !== 'auto'
  const units = isFixed
    ? Math.min(settings.units, limit.capacity / settings.nodes)
    : (settings.tolerance * limit.capacity) / settings.nodes
  const isWindowed = kind === 'windowed'
  const isExact = units < MIN_UNITS || (isWindowed && limit.periodMs < MIN_WINDOW_MS)
  return { maxGrains: isExact ? 0 : Math.floor(units * limit.scale), isFixed, isWindowed }
}

/** State of a key from which the next lease is sized. */
export interface LeaseDemand {
  readonly limit: Limit
  readonly leaseTerms: LeaseTerms
  /** Grains used since the last request, and the time since then. */
  readonly usedGrains: number
  readonly elapsedMs: number
  /** Grains last reported by the shared store and the age of that report; undefined before the first. */
  readonly sharedGrains: number | undefined
  readonly reportAgeMs: number
}

/**
 * Returns the grains a node should hold: clamp(local rate × span, 1, tolerance × capacity ÷ nodes), at most half of
 * its share of what the shared store has left. Why: the last units of a limit must not lie idle at one node.
 */
export function sizeLease(demand: LeaseDemand, { nodes, spanMs }: LeaseSettings): number {
  const { limit, leaseTerms, usedGrains, elapsedMs, sharedGrains, reportAgeMs } = demand
  if (leaseTerms.isFixed) return leaseTerms.maxGrains
  let grains = (usedGrains / Math.max(elapsedMs, MIN_SPAN_MS)) * spanMs
  if (sharedGrains !== undefined) {
    const inflow = (limit.countGrains / limit.periodMs) * (Math.max(0, reportAgeMs) + REFILL_MS)
    grains = Math.min(grains, (sharedGrains + inflow) / (2 * nodes))
  }
  return Math.max(1, Math.min(Math.floor(grains), leaseTerms.maxGrains))
}
