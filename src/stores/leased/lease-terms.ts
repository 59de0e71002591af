import type { AlgorithmName, Limit } from '../../algorithms/limit.ts'
import { policyError } from '../../core/errors.ts'

/** How leases are measured out; see {@link termsOf}. */
export interface LeaseOptions {
  /** Units of a lease, or `auto`: as many as this node uses in 75 ms. Default: auto. 1 leases nothing. */
  readonly units?: number | 'auto' | undefined
  /** After this a lease is void, and what is left of it goes back. Default: 2000. */
  readonly ttlMs?: number | undefined
  /** How many nodes there are at the most; they share the tolerance. Default: 8. */
  readonly nodes?: number | undefined
  /** Which part of a limit's capacity the `auto` leases of all nodes may hold together. Default: 0.1. */
  readonly tolerance?: number | undefined
}

/** Lease options, checked and complete. */
export interface Measure {
  readonly units: number | 'auto'
  readonly ttlMs: number
  readonly nodes: number
  readonly tolerance: number
}

/** What can be lent of one limit. */
export interface LeaseTerms {
  /** Grains a node may hold of a key at the most; 0 where all is asked for message by message. */
  readonly mostGrains: number
  /** Whether all of a lease is asked for at once, rather than what the rate of the node needs. */
  readonly fixed: boolean
  /** Whether a lease ends with the limit's window. */
  readonly windowed: boolean
}

/**
 * What can be lent. A leaky bucket and the sliding windows depend on when each unit is spent: theirs cannot be spent
 * in advance; nor can those of an algorithm of one's own, of which nothing is known.
 */
const LENT: ReadonlyMap<string, 'refilled' | 'windowed'> = new Map<AlgorithmName, 'refilled' | 'windowed'>([
  ['token-bucket', 'refilled'],
  ['fixed-window', 'windowed'],
  ['quota', 'windowed'],
])

/** Windows shorter than this could end while a lease is on its way. */
const SHORTEST_WINDOW_MS = 250
/** A lease smaller than this is no gain: the limit stays exact. */
const LEAST_UNITS = 2
/** An `auto` lease lasts about so long. */
const HORIZON_MS = 75
/** A rate is measured over no less, so that a single burst is not taken for one. */
const SHORTEST_SPAN_MS = 10
/** What flows in within this time counts as there when a limit is nearly spent: leases do not shrink to nothing. */
const INFLOW_MS = 50

/** Checks lease options. Throws PolicyError. */
export function measureOf(options: LeaseOptions): Measure {
  const { units = 'auto', ttlMs = 2_000, nodes = 8, tolerance = 0.1 } = options
  if (units !== 'auto') wholeAbove('units', units, '"auto" or a whole number of at least 1')
  wholeAbove('ttlMs', ttlMs, 'whole milliseconds, at least 1')
  wholeAbove('nodes', nodes, 'a whole number of at least 1')
  if (!(tolerance > 0 && tolerance <= 1)) {
    throw policyError('tolerance', `${tolerance} is no part of a limit`, 'use a number above 0, up to 1')
  }
  return { units, ttlMs, nodes, tolerance }
}

function wholeAbove(path: string, value: number, remedy: string): void {
  if (!Number.isSafeInteger(value) || value < 1)
    throw policyError(path, `${value} cannot be`, `use ${remedy}`)
}

/** The terms of a limit; undefined where every charge goes to the shared store, and nothing is remembered. */
export function leaseTermsOf(limit: Limit, measure: Measure): LeaseTerms | undefined {
  const lent = LENT.get(limit.algorithm)
  if (lent === undefined || limit.custom !== undefined || measure.units === 1) return undefined
  const fixed = measure.units !== 'auto'
  const units = fixed
    ? Math.min(measure.units, limit.capacity / measure.nodes)
    : (measure.tolerance * limit.capacity) / measure.nodes
  const windowed = lent === 'windowed'
  const exact = units < LEAST_UNITS || (windowed && limit.periodMs < SHORTEST_WINDOW_MS)
  return { mostGrains: exact ? 0 : Math.floor(units * limit.scale), fixed, windowed }
}

/** What a node knows of a key when it asks for more. */
export interface Need {
  readonly limit: Limit
  readonly leaseTerms: LeaseTerms
  /** Grains used since it asked last, and how long ago that was. */
  readonly usedGrains: number
  readonly sinceMs: number
  /** Grains the shared store had left when it last said so, how long ago; undefined before. */
  readonly sharedGrains: number | undefined
  readonly heardMs: number
}

/**
 * Grains a node should hold now: clamp(local rate × 75 ms, 1, tolerance × capacity ÷ nodes), and no more than half
 * of its share of what the shared store has left, so that the last units of a limit do not lie idle at one node.
 */
export function sizeLease(need: Need, nodes: number): number {
  const { limit, leaseTerms, usedGrains, sinceMs, sharedGrains, heardMs } = need
  if (leaseTerms.fixed) return leaseTerms.mostGrains
  let grains = (usedGrains / Math.max(sinceMs, SHORTEST_SPAN_MS)) * HORIZON_MS
  if (sharedGrains !== undefined) {
    const inflow = (limit.countGrains / limit.periodMs) * (Math.max(0, heardMs) + INFLOW_MS)
    grains = Math.min(grains, (sharedGrains + inflow) / (2 * nodes))
  }
  return Math.max(1, Math.min(Math.floor(grains), leaseTerms.mostGrains))
}
