import type { Decision } from '../../src/core/decision.ts'

/** Why a client is disconnected, for aedes' `clientError`. Cheap: no stack is taken for what strangers cause. */
export function refusalError(decision: Decision, action: string): Error {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  const rule = decision.rule === undefined ? '' : ` by rule "${decision.rule}"`
  const wait = Number.isFinite(decision.retryAfterMs) ? `, retry after ${decision.retryAfterMs} ms` : ''
  const error = new Error(`${action} refused${rule}: ${decision.reason}${wait}`)
  Error.stackTraceLimit = limit
  return error
}
