import type { Limit } from '../../algorithms/limit-types.ts'
import type { Lease } from './lease.ts'

/**
 * Leases of this process, for a caller that spends them without a call of the store. The caller stores slot and
 * generation of a lease, and finds it by them later, without its key.
 */
export interface HeldLeases {
  /** Returns the lease of a slot; undefined if that lease has ended. */
  leaseAt(slot: number, generation: number): Lease | undefined
  /** Returns the lease of a key, or undefined. */
  findLease(limit: Limit, key: string): Lease | undefined
  /** Spends grains that are usable. */
  spendLease(lease: Lease, grains: number, nowMs: number): void
}
