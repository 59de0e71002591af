import type { Decision } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { RuleInfo } from './rule-info.ts'

export interface FieldOptions {
  /** Whether the older `X-RateLimit-*` fields are told as well. Default: false. */
  readonly legacy?: boolean | undefined
}

/**
 * The fields that tell of a decision, by draft-ietf-httpapi-ratelimit-headers-11: `RateLimit-Policy` with quota
 * and window, `RateLimit` with what is left and when there is more, `Retry-After` on a refusal, never before that. Times are whole
 * seconds, rounded up. A token bucket's quota is its burst, and its window the time in which that is filled. Empty
 * where no rule was named.
 */
export function rateLimitFields(
  decision: Decision,
  facts: RuleInfo | undefined,
  options: FieldOptions = {},
): Readonly<Record<string, string>> {
  const refused = !decision.allowed
  const retryS = refused && decision.retryAfterMs !== Infinity ? seconds(decision.retryAfterMs) : undefined
  const retry: Record<string, string> = retryS === undefined ? {} : { 'Retry-After': String(retryS) }
  if (facts === undefined || facts.maxBytes !== undefined) return retry
  const name = quoted(facts.name)
  const windowS = seconds((facts.periodMs * facts.capacity) / facts.count)
  const left = Math.max(0, Math.floor(decision.remaining ?? 0))
  // Of a refusal the time that matters is when it may come again; Retry-After must not lie before it.
  const resetS = retryS ?? seconds(decision.resetMs ?? facts.periodMs)
  const unit = facts.unit === 'bytes' ? ';qu="content-bytes"' : ''
  return {
    'RateLimit-Policy': `${name};q=${facts.capacity};w=${windowS}${unit}`,
    RateLimit: `${name};r=${left};t=${resetS}`,
    ...retry,
    ...(options.legacy === true ? legacyFields(facts, left, resetS) : {}),
  }
}

function legacyFields(facts: RuleInfo, left: number, resetS: number): Readonly<Record<string, string>> {
  return {
    'X-RateLimit-Limit': String(facts.capacity),
    'X-RateLimit-Remaining': String(left),
    'X-RateLimit-Reset': String(resetS),
    'X-RateLimit-Scope': printable(facts.per.join(',')),
    'X-RateLimit-Algorithm': facts.algorithm,
  }
}

/** The same fields in lower case, as MQTT 5 user properties are called: `ratelimit`, `retry-after`. */
export function lowerCaseFields(fields: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value]))
}

/**
 * The headers of a reply that refuses a NATS request: code 429, as NATS services tell errors, and the fields. Never
 * a status 503, which clients take for "no responders".
 */
export function natsRefusalHeaders(
  decision: Decision,
  facts: RuleInfo | undefined,
  text: string,
  options: FieldOptions = {},
): Readonly<Record<string, string>> {
  return {
    'Nats-Service-Error-Code': '429',
    'Nats-Service-Error': printable(text),
    ...rateLimitFields(decision, facts, options),
  }
}

function seconds(ms: number): number {
  return Math.max(ms > 0 ? 1 : 0, Math.ceil(ms / 1_000))
}

/** A structured-field string (RFC 9651, 3.3.3): printable ASCII in quotes, `\` and `"` escaped; others percent-encoded. */
function quoted(text: string): string {
  return `"${printable(text).replace(/[\\"]/g, '\\$&')}"`
}

function printable(text: string): string {
  const encoded = text
    .slice(0, MAX_SIZES.fieldChars)
    .replace(/\p{Cs}/gu, '_')
    .replace(/[^\x20-\x7e]/gu, encodeURIComponent)
  return encoded.slice(0, MAX_SIZES.fieldChars)
}
