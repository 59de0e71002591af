import type { Decision } from '../core/decision.ts'
import { printable, type RateLimitFieldOptions, rateLimitFields } from './rate-limit-fields.ts'
import type { RuleInfo } from './rule-info.ts'

/**
 * Returns the headers of a reply that refuses a NATS request: error code 429 as in NATS services, and the fields.
 * Never status 503, because clients read it as "no responders".
 */
export function natsRefusalHeaders(
  decision: Decision,
  ruleInfo: RuleInfo | undefined,
  text: string,
  options: RateLimitFieldOptions = {},
): Readonly<Record<string, string>> {
  return {
    'Nats-Service-Error-Code': '429',
    'Nats-Service-Error': printable(text),
    ...rateLimitFields(decision, ruleInfo, options),
  }
}

/** Returns the body of an error reply, as JetStream sends it. */
export function natsErrorBody(error: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ error }))
}

/**
 * Body of a refusal. A JetStream client that publishes reads it as error 429. Without a body it would take the headers
 * for an invalid acknowledgement.
 */
export const TOO_MANY_REQUESTS: Uint8Array = natsErrorBody({
  code: 429,
  err_code: 10_167,
  description: 'too many requests',
})
