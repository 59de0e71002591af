import type { Decision } from '../../src/core/decision.ts'

/** Builds the error of a disconnect for aedes' `clientError`. Takes no stack trace, as clients can cause many. */
export function clientRefusalError(decision: Decision, action: string): Error {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  const rule = decision.rule === undefined ? '' : ` by rule "${decision.rule}"`
  const wait = Number.isFinite(decision.retryAfterMs) ? `, retry after ${decision.retryAfterMs} ms` : ''
  const error = new Error(`${action} refused${rule}: ${decision.reason}${wait}`)
  Error.stackTraceLimit = limit
  return error
}
