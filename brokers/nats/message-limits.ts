import type { Decision } from '../../src/core/decision.ts'

/** What a handler is told of the limits its message has passed. */
export interface MessageLimits {
  readonly decision: Decision
  /** `RateLimit`, `RateLimit-Policy` and, where asked for, `X-RateLimit-*`; made when asked for. */
  readonly fields: Readonly<Record<string, string>>
}
