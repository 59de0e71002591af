import { withoutControls } from '../../core/errors.ts'
import { formatBytes } from '../../core/units.ts'

/** Maximum characters of untrusted text in output. */
const MAX_CHARS = 80

/** Formats a count as `12,000`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}

/** Formats units of a limit: `12,000`, or `12 kB` of a limit in bytes. */
export function formatUnits(units: number, unit: 'messages' | 'bytes'): string {
  return unit === 'bytes' ? formatBytes(units) : formatCount(units)
}

/** Formats a share as `25.0 %`; 0 if the whole is 0. */
export function formatShare(part: number, whole: number): string {
  return `${(whole === 0 ? 0 : (100 * part) / whole).toFixed(1)} %`
}

/** Formats a count with its noun: `1 rule`, `2,000 rules`. */
export function formatNumberOf(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** Formats a share from 0 to 1 as `90 %` or `12.5 %`. */
export function formatPercent(share: number): string {
  return `${toPercent(share)} %`
}

/** Returns a share from 0 to 1 in percent, without the error of its last bits: 90 for 0.9. */
export function toPercent(share: number): number {
  return Number((100 * share).toFixed(9))
}

/** Formats a duration as `850ms`, `1.5s`, `2m 5s`, `3h 4m`, `2d 1h`, or `never` for Infinity. */
export function formatWait(ms: number): string {
  if (ms === Infinity) return 'never'
  if (ms < 1_000) return `${ms}ms`
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(1))}s`
  const seconds = Math.round(ms / 1_000)
  if (seconds < 3_600) return joined(seconds, 60, 'm', 1, 's')
  if (seconds < 86_400) return joined(seconds, 3_600, 'h', 60, 'm')
  return joined(seconds, 86_400, 'd', 3_600, 'h')
}

/** Formats a duration without rounding it, in the largest unit that divides it: `1001ms`, `90s`, `2h`; `never` for Infinity. */
export function formatExactWait(ms: number): string {
  if (ms === Infinity) return 'never'
  const units = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'm'],
    [1_000, 's'],
  ] as const
  const [length, unit] = units.find(([each]) => ms > 0 && ms % each === 0) ?? [1, 'ms']
  return `${ms / length}${unit}`
}

function joined(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((seconds % large) / small)
  return `${Math.floor(seconds / large)}${largeUnit}${rest === 0 ? '' : ` ${rest}${smallUnit}`}`
}

/** Makes untrusted text safe for a terminal: removes control characters and limits its length. */
export function sanitizeForTerminal(text: string, maxChars = MAX_CHARS): string {
  const cut = text.length > maxChars ? `${text.slice(0, maxChars - 1)}…` : text
  return withoutControls(cut)
}

/** Aligns columns, the first to the left, others to the right. Returns the head alone if there are no rows. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map(row => (row[column] ?? '').length)))
  return all.map(row =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  )
}
