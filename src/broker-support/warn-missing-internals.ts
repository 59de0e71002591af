import type { Logger } from '../core/logger.ts'

/** Logs the members of a client that are not public and missing, and the cost of doing without. Never throws. */
export function warnOfMissingInternals(
  logger: Logger,
  client: string,
  missing: readonly string[],
  cost: string,
): void {
  try {
    logger.warn(
      { client, missing },
      `${client} has no ${missing.join(', ')}: its public API is used instead, which ${cost}`,
    )
  } catch {
    // A logger that throws must not stop a connection.
  }
}
