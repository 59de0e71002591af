import type { Decision } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { RuleInfo } from './rule-info.ts'

export interface RateLimitFieldOptions {
  /** Adds the older `X-RateLimit-*` fields. Default: false. */
  readonly legacy?: boolean | undefined
}

/**
 * Returns the fields of a decision by draft-ietf-httpapi-ratelimit-headers-11: `RateLimit-Policy` with quota and window,
 * `RateLimit` with the remaining units and the time until more, and `Retry-After` on a refusal. Times are whole seconds,
 * rounded up; `RateLimit` is never earlier than `Retry-After`. A token bucket's quota is its burst, and its window is the
 * time to refill it. Empty if the decision names no rule.
 */
export function rateLimitFields(
  decision: Decision,
  ruleInfo: RuleInfo | undefined,
  options: RateLimitFieldOptions = {},
): Readonly<Record<string, string>> {
  const refused = !decision.allowed
  const retryS = refused && decision.retryAfterMs !== Infinity ? seconds(decision.retryAfterMs) : undefined
  const retry: Record<string, string> = retryS === undefined ? {} : { 'Retry-After': String(retryS) }
  if (ruleInfo === undefined || ruleInfo.periodMs === 0) return retry
  const name = quoted(ruleInfo.name)
  const windowS = seconds((ruleInfo.periodMs * ruleInfo.capacity) / ruleInfo.count)
  const left = Math.max(0, Math.floor(decision.remaining ?? 0))
  // On a refusal the reset is the time of the retry, so that Retry-After is not earlier.
  const resetS = retryS ?? seconds(decision.resetMs ?? ruleInfo.periodMs)
  const unit = ruleInfo.unit === 'bytes' ? ';qu="content-bytes"' : ''
  return {
    'RateLimit-Policy': `${name};q=${ruleInfo.capacity};w=${windowS}${unit}`,
    RateLimit: `${name};r=${left};t=${resetS}`,
    ...retry,
    ...(options.legacy === true ? legacyFields(ruleInfo, left, resetS) : {}),
  }
}

function legacyFields(ruleInfo: RuleInfo, left: number, resetS: number): Readonly<Record<string, string>> {
  return {
    'X-RateLimit-Limit': String(ruleInfo.capacity),
    'X-RateLimit-Remaining': String(left),
    'X-RateLimit-Reset': String(resetS),
    'X-RateLimit-Scope': printable(ruleInfo.per.join(',')),
    'X-RateLimit-Algorithm': ruleInfo.algorithm,
  }
}

/** Returns the fields with lower-case names for MQTT 5 user properties: `ratelimit`, `retry-after`. */
export function lowerCaseFields(fields: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value]))
}

function seconds(ms: number): number {
  return Math.max(ms > 0 ? 1 : 0, Math.ceil(ms / 1_000))
}

/** Formats a structured-field string (RFC 9651, 3.3.3): printable ASCII in quotes, `\` and `"` escaped, others percent-encoded. */
function quoted(text: string): string {
  return `"${printable(text).replace(/[\\"]/g, '\\$&')}"`
}

/** Returns a text as printable ASCII of at most `MAX_SIZES.fieldChars` characters. */
export function printable(text: string): string {
  const encoded = text
    .slice(0, MAX_SIZES.fieldChars)
    .replace(/\p{Cs}/gu, '_')
    .replace(/[^\x20-\x7e]/gu, encodeURIComponent)
  return encoded.slice(0, MAX_SIZES.fieldChars)
}
