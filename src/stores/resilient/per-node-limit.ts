import { createLimit } from '../../algorithms/create-limit.ts'
import { algorithmOf, type Limit } from '../../algorithms/limit-types.ts'

/**
 * Returns a limit with rate and burst divided by `parts`, rounded down, at least 1: the share of one node. Keeps the
 * name, so state is shared with it.
 */
export function perNodeLimit(limit: Limit, parts: number): Limit {
  const part = (units: number): number => Math.max(1, Math.floor(units / parts))
  const { name, periodMs, capacity, calendar } = limit
  const algorithm = algorithmOf(limit)
  const bucket = algorithm === 'token-bucket'
  const burst = part(capacity)
  const initial = Math.min(burst, Math.floor(limit.initialGrains / limit.scale))
  return createLimit({
    name,
    algorithm,
    periodMs,
    count: part(limit.count),
    fractional: limit.scale > 1,
    burst: bucket || limit.custom !== undefined ? burst : undefined,
    initial: bucket ? initial : undefined,
    calendar,
  })
}
