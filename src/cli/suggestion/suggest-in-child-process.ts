import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { LimitSuggester, Suggestion } from '../../admin/index.ts'
import { AdminProblem } from '../../admin/problem.ts'
import { packageFile } from '../../core/package-files.ts'
import { CommandError, EXIT, type errorToJson } from '../terminal/command-error.ts'
import { checkGroupOptions } from './define-groups.ts'

/** Runs `topicgate suggest` in a process of its own, so that the messages that are decided meanwhile do not wait. */
export const suggestInChildProcess: LimitSuggester = async (
  lines,
  { topic, per, quantile, dialect, node },
  signal,
) => {
  checkOptions({ topic, per }, dialect)
  const args = [
    ...['suggest', '-', '--json', '--allow-out-of-order', '--dialect', dialect, `--source=node ${node}`],
    ...['--quantile', String(quantile)],
    ...(topic === undefined ? [] : [`--topic=${topic}`]),
    ...(per === undefined ? [] : [`--per=${per}`]),
  ]
  const suggesting = spawn(process.execPath, [packageFile('dist/src/cli/main.js'), ...args], { signal })
  const exited = new Promise<number | null>((resolve, reject) => {
    suggesting.on('error', error => {
      if (!signal.aborted) reject(error)
    })
    suggesting.on('close', resolve)
  })
  // If the process ends early, its exit code and complaints say why.
  const written = pipeline(Readable.from(lines), suggesting.stdin).catch(() => {})
  const [exitCode, answer, complaints] = await Promise.all([
    exited,
    text(suggesting.stdout),
    text(suggesting.stderr),
    written,
  ])
  if (answer !== '' && !signal.aborted) {
    // A suggestion that refuses too much of what it was verified with has exit code 1, too.
    const printed = JSON.parse(answer) as Suggestion | ReturnType<typeof errorToJson>
    if (!('error' in printed)) return printed
  }
  const reason = withoutDashes(complaints.trim().replace(/^error: /, ''))
  throw new AdminProblem(exitCode === EXIT.usage ? 422 : 409, reason || 'the suggestion was ended')
}

/** Why: an operator does not wait for minutes to read that the pattern has a mistake. */
function checkOptions(...options: Parameters<typeof checkGroupOptions>): void {
  try {
    checkGroupOptions(...options)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    throw new AdminProblem(422, withoutDashes(error.message))
  }
}

/** Returns a text in which the options of the command have the names of the parameters: `per` for `--per`. */
function withoutDashes(text: string): string {
  return text.replaceAll(/--(?=[a-z])/g, '')
}
