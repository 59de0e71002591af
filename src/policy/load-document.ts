import type * as z from 'zod'
import { formatProblem, PolicyError, type Position, type Problem } from '../core/errors.ts'
import { LoopTurns } from '../core/loop-turns.ts'
import type { EnvironmentVariables } from './env-substitution.ts'
import { parseYaml } from './parse-yaml.ts'
import { readDocumentText } from './read-document-text.ts'
import { type DocumentFormat, explainIssue, findIssues } from './schema-issues.ts'
import {
  findUnreadablePaths,
  formatPath,
  parsePolicyPath,
  positionOf,
  toPlain,
  type ValuePath,
} from './source-positions.ts'

/** A kind of YAML or JSON file that is not a policy, such as tests of policies. */
export interface FileFormat<T> extends DocumentFormat {
  readonly schema: z.ZodType<T>
  /** Names the kind of file in messages, as `test file`. */
  readonly noun: string
}

/** A parsed file. */
export interface LoadedDocument<T> {
  readonly value: T
  /** Returns the position of a value, or of its key, by its path such as `tests[0].steps[1]`. */
  locate(path: string, at?: 'key' | 'value'): Position
}

/**
 * Loads a file of a format, with the syntax and the `${NAME}` of policies. Rejects with one PolicyError that lists all
 * problems of form, each with position and remedy.
 */
export async function loadDocument<T>(
  file: string,
  format: FileFormat<T>,
  env: EnvironmentVariables,
): Promise<LoadedDocument<T>> {
  const text = await readDocumentText(file, format.noun, 'split it into several files')
  if (typeof text !== 'string') throw new PolicyError([{ file, ...text }])
  if (/^(?:\s*(?:#.*)?(?:\n|$))*$/.test(text)) {
    throw new PolicyError([
      { file, message: `the ${format.noun} is empty`, remedy: `see ${format.schemaName}` },
    ])
  }
  const { root, problems: ofSyntax } = await parseYaml(text, env, new LoopTurns(), file)
  if (root === undefined) throw new PolicyError(ofSyntax)
  const plain = toPlain(root)
  const unread: ValuePath[] = []
  findUnreadablePaths(root, [], unread)
  const problems: Problem[] = []
  for (const issue of findIssues(format.schema, plain)) explainIssue(issue, root, format, problems, [])
  const silent = new Set(unread.map(formatPath))
  const all = [...ofSyntax, ...problems.filter(({ path }) => !silent.has(path ?? ''))]
  // Several alternatives of a schema may refuse a value alike.
  const found = [...new Map(all.map(problem => [formatProblem(problem), problem])).values()]
  if (found.length > 0) {
    throw new PolicyError(
      found.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)),
    )
  }
  return {
    value: format.schema.parse(plain),
    locate: (path, at = 'value') => ({ path, ...positionOf(root, parsePolicyPath(path), at) }),
  }
}
