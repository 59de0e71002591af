import { CLI } from '../support/built.ts'
import { type Program, startNode } from '../support/program.ts'

/** Starts the built command line. */
export function startCommand(...args: string[]): Program {
  return startNode([CLI, ...args])
}

/** The first line of a JSON log that matches, now or to come. */
export async function logged(program: Program, pattern: RegExp): Promise<Readonly<Record<string, unknown>>> {
  const { input } = await program.line(pattern)
  return JSON.parse(input) as Readonly<Record<string, unknown>>
}

/** The last line that was printed. */
export function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? ''
}
