import { type Limit, toGrains } from '../../algorithms/limit-types.ts'
import { StoreError } from '../../core/errors.ts'
import { decodeCells, encodeCells } from '../persistence/encode-cells.ts'
import { fingerprintLimit, parseLimitFingerprint } from '../persistence/limit-fingerprint.ts'
import { findLimitChanges, type LimitHistory } from '../persistence/limit-history-for-migration.ts'
import { freshCells, migrateState } from '../persistence/migrate-state.ts'
import type { Charge, Verdict } from '../store.ts'
import type { StoredValue } from './bucket.ts'

const LINE = 0x0a

/** State of a key under a limit; changed in place, and written with the revision that was read. */
export interface KvEntry {
  readonly limit: Limit
  readonly revision: number
  /** True if the key equals an unseen one. */
  readonly isNew: boolean
  cells: Float64Array
}

/**
 * Parses a value of the bucket: the rule's numbers as a line of JSON, then the raw cells. Migrates it if it was
 * written under other numbers. Throws StoreError for an invalid value.
 */
export function openEntry(
  { revision, data }: StoredValue,
  limit: Limit,
  nowMs: number,
  history: LimitHistory,
): KvEntry {
  if (data === undefined) return { limit, revision, isNew: true, cells: freshCells(limit, nowMs) }
  const end = data.indexOf(LINE)
  const cells = decodeCells(data.subarray(end + 1))
  const text = new TextDecoder().decode(data.subarray(0, Math.max(0, end)))
  try {
    const numbers = fingerprintLimit(limit)
    const read = (each: string): Limit | undefined =>
      each === numbers ? limit : parseLimitFingerprint(each, limit)
    const changes = findLimitChanges(history, text, cells[0] ?? 0).map(each => ({
      limit: read(each.text),
      sinceMs: Math.min(each.sinceMs, nowMs),
    }))
    const migrated = migrateState(cells, read(text), changes)
    return { limit, revision, isNew: migrated === undefined, cells: migrated ?? freshCells(limit, nowMs) }
  } catch (cause) {
    throw new StoreError(
      `nats: a key of ${limit.name} has a value that is not the state of a limit (delete it)`,
      {
        cause,
      },
    )
  }
}

/** Encodes an entry for {@link openEntry}. */
export function encodeKvEntry({ limit, cells }: KvEntry): Uint8Array {
  return Buffer.concat([Buffer.from(`${fingerprintLimit(limit)}\n`), encodeCells(cells)])
}

/** Returns how long an entry still differs from a missing one. */
export function lifetimeMs({ limit, cells }: KvEntry, nowMs: number): number {
  return Math.max(0, limit.kernel.fullAtMs(cells, 0, limit) - nowMs)
}

/** Returns the verdicts on charges of one key, where those that fit add up, and the grains to take for them. */
export function probeCharges(
  { cells, limit }: KvEntry,
  charges: readonly Charge[],
  nowMs: number,
): { readonly verdicts: readonly Verdict[]; readonly grains: number | undefined } {
  let grainsToCharge: number | undefined
  const verdicts = charges.map(({ cost }) => {
    const verdict: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
    const grains = (grainsToCharge ?? 0) + toGrains(cost, limit)
    if (limit.kernel.probe(cells, 0, nowMs, grains, limit, verdict)) grainsToCharge = grains
    return verdict
  })
  return { verdicts, grains: grainsToCharge }
}

/** Charges what was probed. */
export function chargeKvEntryInMemory(entry: KvEntry, grains: number, nowMs: number): void {
  const { limit } = entry
  const { kernel } = limit
  // Probed again, because only the last probe informs a kernel of the room it needs, and that may have been a
  // larger one.
  kernel.probe(entry.cells, 0, nowMs, grains, limit, {
    allowed: false,
    remaining: 0,
    retryAfterMs: 0,
    resetMs: 0,
  })
  if (kernel.growCells) entry.cells = kernel.growCells(entry.cells)
  kernel.charge(entry.cells, 0, nowMs, grains, limit)
}
