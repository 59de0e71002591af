import type { Decision } from '../../src/core/decision.ts'

/** Limits that a message has passed, for its handler. */
export interface MessageLimits {
  readonly decision: Decision
  /** `RateLimit`, `RateLimit-Policy` and optionally `X-RateLimit-*` fields, computed on access. */
  readonly fields: Readonly<Record<string, string>>
}
