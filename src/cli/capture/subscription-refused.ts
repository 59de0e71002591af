import { CommandError, EXIT } from '../terminal/command-error.ts'

/** Returns the error of a subscription that a broker does not allow. */
export function subscriptionRefused(filters: string, cause?: unknown): CommandError {
  const reason = cause instanceof Error ? `: ${cause.message}` : ''
  return new CommandError(`the broker refuses to subscribe to ${filters}${reason}`, EXIT.notAllowed, {
    cause,
  })
}
