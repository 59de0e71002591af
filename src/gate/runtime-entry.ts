import type { EntryAge } from '../chain/rules/runtime-entry-order.ts'
import { checkWithPathPrefix, policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { parseDuration } from '../core/units.ts'

/** Options of a runtime entry: author, reason, duration. */
export interface RuntimeEntryOptions {
  /** Reason, at most {@link MAX_SIZES.reasonChars} characters. */
  readonly reason: string
  /** Category of the operator's choice, for reports: `emergency`, `abuse`, `ticket-17`. */
  readonly code?: string | undefined
  /** Author. Default: `unknown`. */
  readonly addedBy?: string | undefined
  /** Duration in milliseconds or as text such as `1h`. Default: until it is removed. */
  readonly for?: number | string | undefined
}

/** Common fields of runtime entries. Times are whole milliseconds since the epoch. */
export interface RuntimeEntry extends EntryAge {
  readonly id: string
  readonly reason: string
  readonly code?: string | undefined
  readonly addedBy: string
  readonly expiresAtMs?: number | undefined
}

export const RUNTIME_ENTRY_KINDS = ['ban', 'override', 'exemption', 'tier', 'behaviour', 'breaker'] as const
export type RuntimeEntryKind = (typeof RUNTIME_ENTRY_KINDS)[number]

/** A change of runtime entries, for the audit log. */
export interface RuntimeEntryChange {
  readonly kind: RuntimeEntryKind
  readonly action: 'added' | 'removed' | 'expired'
  readonly id: string
  readonly atMs: number
  /** Author of the change; `clock` if the entry expired. */
  readonly by: string
  readonly reason: string
  /** Entry that an added one replaced. */
  readonly before?: RuntimeEntry | undefined
  readonly note: RuntimeEntry
}

/** Returns the common fields of an entry. Throws PolicyError. */
export function createRuntimeEntry(
  id: string,
  options: RuntimeEntryOptions,
  nowMs: number,
  sequence: number,
): RuntimeEntry {
  const { reason, code, addedBy = 'unknown' } = options
  checkText('reason', reason)
  checkText('addedBy', addedBy)
  if (code !== undefined) checkText('code', code)
  const forMs = options.for === undefined ? undefined : parseLength(options.for)
  return {
    id,
    reason,
    addedBy,
    addedAtMs: nowMs,
    sequence: sequence === 0 ? undefined : sequence,
    code,
    expiresAtMs: forMs === undefined ? undefined : nowMs + forMs,
  }
}

function checkText(path: string, text: unknown): void {
  if (typeof text === 'string' && text.trim() !== '' && text.length <= MAX_SIZES.reasonChars) return
  throw policyError(
    path,
    `\`${path}\` is empty or too long`,
    `write 1 to ${MAX_SIZES.reasonChars} characters`,
  )
}

function parseLength(length: number | string): number {
  if (typeof length === 'string') return checkWithPathPrefix('for', () => parseDuration(length))
  if (Number.isSafeInteger(length) && length >= 1) return length
  throw policyError('for', `${String(length)} is not a time`, 'give whole milliseconds, or write 60s, 1h, 7d')
}
