import { formatProblem } from '../../core/errors.ts'
import { EXIT, errorToJson, explainError } from '../terminal/command-error.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { type AdminClient, type ConnectionFlags, openAdminClient, RefusedRequestError } from './client.ts'

/** What a command prints: a JSON document, or lines. */
export interface CommandOutput {
  readonly json: unknown
  readonly lines: readonly string[]
  /** Default: 0. */
  readonly exitCode?: number | undefined
}

/**
 * Runs a command against a running topicgate and prints its output. With --json exactly one document is printed, also if
 * it fails: `{"error": …}`. Returns the exit code; never rejects for a request that fails.
 */
export async function runAdminCommand(
  flags: ConnectionFlags,
  terminal: Terminal,
  command: (client: AdminClient) => Promise<CommandOutput>,
): Promise<number> {
  const { stdout, stderr, env } = terminal
  try {
    const { json, lines, exitCode = EXIT.fine } = await command(openAdminClient(flags, env))
    const text = flags.json ? [JSON.stringify(json)] : lines
    await write(stdout, text.map(line => `${line}\n`).join(''))
    return exitCode
  } catch (error) {
    const { lines, exitCode } = explainError(error, Boolean(env.DEBUG))
    if (flags.json) await write(stdout, `${JSON.stringify(toJson(error, exitCode))}\n`)
    else {
      const problems = error instanceof RefusedRequestError ? error.problems.map(formatProblem) : []
      await write(stderr, [...lines, ...problems].map(line => `${line}\n`).join(''))
    }
    return exitCode
  }
}

function toJson(error: unknown, exitCode: number): object {
  if (!(error instanceof RefusedRequestError)) return errorToJson(error, exitCode)
  const { status, title, detail, problems } = error
  return { error: { exitCode, status, title, detail, problems } }
}

/** Returns a path segment for an id. */
export function encodePathSegment(id: string): string {
  return encodeURIComponent(id)
}
