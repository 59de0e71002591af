import { formatProblem, PolicyError, StoreError, withoutControls } from '../core/errors.ts'

/** What a command ends with: fine, the thing checked failed, wrong usage, a service is not to be had (sysexits.h). */
export const EXIT = { fine: 0, failed: 1, usage: 2, unavailable: 69 } as const

/** Ends a command with words for people and an exit code. */
export class CommandError extends Error {
  override readonly name = 'CommandFailure'
  readonly code = 'TOPICGATE_COMMAND'
  readonly exitCode: number

  constructor(message: string, exitCode: number, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}

const UNAVAILABLE: ReadonlySet<unknown> = new Set([
  'EADDRINUSE',
  'EADDRNOTAVAIL',
  'EACCES',
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'ETIMEDOUT',
])

/**
 * The lines and the exit code of whatever ended a command; problems of a policy begin with their place. The stack is
 * for those who ask with DEBUG.
 */
export function explainError(error: unknown, debug: boolean): { lines: readonly string[]; exitCode: number } {
  if (error instanceof PolicyError) {
    return { lines: error.problems.map(formatProblem), exitCode: EXIT.failed }
  }
  const text = error instanceof Error ? error.message : String(error)
  const shown = debug && error instanceof Error ? (error.stack ?? text) : text
  const lines = [`error: ${shown.split('\n').map(withoutControls).join('\n')}`]
  if (error instanceof CommandError) return { lines, exitCode: error.exitCode }
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const unavailable = error instanceof StoreError || UNAVAILABLE.has(code)
  return { lines, exitCode: unavailable ? EXIT.unavailable : EXIT.failed }
}
