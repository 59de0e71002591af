import { formatProblem, PolicyError, StoreError, withoutControls } from '../../core/errors.ts'

/** Exit codes of commands: success, failed check, wrong usage, unavailable service, no permission (sysexits.h). */
export const EXIT = { fine: 0, failed: 1, usage: 2, unavailable: 69, notAllowed: 77 } as const

/** Ends a command with a message and an exit code. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly code = 'TOPICGATE_COMMAND'
  readonly exitCode: number

  constructor(message: string, exitCode: number, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}

/** Ends a command whose error another process has printed. */
export class ReportedError extends CommandError {
  constructor(exitCode: number) {
    super('a worker could not start', exitCode)
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
 * Returns the lines and exit code for an error that ended a command. Problems of a policy begin with their position.
 * The stack is included if DEBUG is set.
 */
export function explainError(error: unknown, debug: boolean): { lines: readonly string[]; exitCode: number } {
  if (error instanceof PolicyError) {
    return { lines: error.problems.map(formatProblem), exitCode: EXIT.failed }
  }
  if (error instanceof ReportedError) return { lines: [], exitCode: error.exitCode }
  const text = error instanceof Error ? error.message : String(error)
  const shown = debug && error instanceof Error ? (error.stack ?? text) : text
  const lines = [`error: ${shown.split('\n').map(withoutControls).join('\n')}`]
  if (error instanceof CommandError) return { lines, exitCode: error.exitCode }
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const unavailable = error instanceof StoreError || UNAVAILABLE.has(code)
  return { lines, exitCode: unavailable ? EXIT.unavailable : EXIT.failed }
}

/** Returns what `--json` prints of an error that ended a command: `{"error": …}`. */
export function errorToJson(error: unknown, exitCode: number): { readonly error: object } {
  if (error instanceof PolicyError) {
    return { error: { exitCode, detail: error.message, problems: error.problems } }
  }
  return { error: { exitCode, detail: error instanceof Error ? error.message : String(error) } }
}
