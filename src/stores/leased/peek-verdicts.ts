import { toGrains } from '../../algorithms/limit-types.ts'
import type { MaybePromise } from '../../core/message.ts'
import type { Charge, Store, Verdict } from '../store.ts'
import type { Lease } from './lease.ts'
import type { LeaseTable } from './lease-table.ts'

/**
 * Returns the verdicts charges would get, without changing state: from local leases and, if those are too small, from
 * the shared store.
 */
export function peek(
  charges: readonly Charge[],
  options: Parameters<Store['decide']>[1],
  nowMs: number,
  leaseTable: LeaseTable,
  store: Store,
): MaybePromise<readonly Verdict[]> {
  const spent = new Map<Lease, number>()
  const missing: Charge[] = []
  const here = charges.map(charge => {
    const lease = leaseTable.find(charge.limit, charge.key)
    const grains = toGrains(charge.cost, charge.limit)
    const usable = lease === undefined ? 0 : lease.usable(nowMs) - (spent.get(lease) ?? 0)
    if (lease !== undefined && usable > 0 && usable >= grains) {
      spent.set(lease, (spent.get(lease) ?? 0) + grains)
      return lease.allow(usable - grains, nowMs)
    }
    if (lease?.isRefused(grains, nowMs)) return lease.deny(grains, nowMs)
    missing.push(usable > 0 ? { ...charge, cost: (grains - usable) / charge.limit.scale } : charge)
    return Math.floor(usable / charge.limit.scale)
  })
  const merge = (answers: readonly Verdict[]): readonly Verdict[] => {
    let next = 0
    return here.map(found => {
      if (typeof found !== 'number') return found
      const answer = answers[next++]!
      return answer.allowed ? answer : { ...answer, remaining: answer.remaining + found }
    })
  }
  if (missing.length === 0) return merge([])
  const answers = store.decide(missing, options)
  return answers instanceof Promise ? answers.then(merge) : merge(answers)
}

/** Estimates the verdict on a charge of a message that another rule already refused, from local knowledge. */
export function estimateVerdict(charge: Charge, nowMs: number, leaseTable: LeaseTable): Verdict {
  const { scale, capacityGrains } = charge.limit
  const grains = toGrains(charge.cost, charge.limit)
  const lease = leaseTable.find(charge.limit, charge.key)
  const left = (lease?.sharedGrains ?? capacityGrains) - grains
  const fits = grains <= capacityGrains
  return {
    allowed: fits,
    remaining: Math.max(0, Math.floor((fits ? left : left + grains) / scale)),
    retryAfterMs: fits ? 0 : Infinity,
    resetMs: Math.max(0, (lease?.resetAtMs ?? 0) - nowMs),
  }
}
