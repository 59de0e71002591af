import { LineCounter, type YAMLError } from 'yaml'
import type { Problem } from '../core/errors.ts'
import type { LoopTurns } from '../core/loop-turns.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { composeYaml } from './compose-yaml.ts'
import type { EnvironmentVariables } from './env-substitution.ts'
import { suggestYamlFix } from './hints.ts'
import type { Located, SourcePosition } from './source-positions.ts'
import { NodeReader } from './yaml-node-reader.ts'

export interface PolicyParseResult {
  /** Undefined if the text cannot be parsed. */
  readonly root: Located | undefined
  readonly problems: readonly Problem[]
}

/** Remedies for the parser's error codes and, if its own text is unclear, a better message. */
const SYNTAX_REMEDIES: Readonly<Record<string, readonly [remedy: string, message?: string]>> = {
  BAD_INDENT: ['close what was opened, and indent the entries of one list or object alike'],
  BLOCK_AS_IMPLICIT_KEY: ['put the value in quotes, or on a line of its own'],
  MISSING_CHAR: ['close the quote or bracket, or put a space after the colon'],
  MULTIPLE_DOCS: ['a file holds one document: remove the --- line', 'a second document starts here'],
  NON_STRING_KEY: ['write a word in front of the colon', 'a key must be text'],
  TAB_AS_INDENT: ['indent with spaces', 'a tab indents this line'],
  TAG_RESOLVE_FAILED: ['remove the tag', 'tags are not supported'],
  UNEXPECTED_TOKEN: ['check quotes, brackets, colons and dashes before it', 'unexpected text'],
}

/**
 * Parses YAML or JSON into located values and substitutes the variables of `env`, in turns of the event loop. Reports
 * duplicate keys, tags, second documents and unset variables; limits nesting, aliases and errors. Never rejects.
 */
export async function parseYaml(
  text: string,
  env: EnvironmentVariables,
  turns: LoopTurns,
  file?: string,
): Promise<PolicyParseResult> {
  const lines = new LineCounter()
  const at = (offset: number): SourcePosition => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const reader = new NodeReader(env, at)
  const { errors, stoppedAt } = await composeYaml(text, lines, turns, part => reader.readPart(part))
  const problems: Problem[] = errors
    .slice(0, MAX_SIZES.policyProblems)
    .map(error => explain(error, at, text))
    .filter(({ line, message, remedy }, index, all) => {
      const before = all[index - 1]
      return line !== before?.line || message !== before?.message || remedy !== before?.remedy
    })
  if (stoppedAt !== undefined) {
    const message = `lists and objects nest deeper than ${MAX_SIZES.policyDepth}, or most of this text is not YAML`
    problems.push({ ...at(stoppedAt), message, remedy: 'check the brackets, quotes and dashes before it' })
  }
  if (problems.length > 0) return { root: undefined, problems }
  const { root } = reader
  if (!root || (root.kind === 'scalar' && root.value === null)) {
    const message = 'the policy is empty'
    problems.push({ ...at(0), message, remedy: 'write at least version: 1 and a list of rules' })
    return { root: undefined, problems }
  }
  return { root, problems: reader.problems }
}

function explain(error: YAMLError, at: (offset: number) => SourcePosition, text: string): Problem {
  const position = at(error.pos[0])
  const line = text.split('\n', position.line)[(position.line ?? 1) - 1] ?? ''
  const own = error.message ?? ''
  if (/^sequence item without - indicator/i.test(own)) {
    const remedy = 'begin it in the same column as the words above it'
    return { ...position, message: 'this line is indented differently from the entry it belongs to', remedy }
  }
  const [remedy = 'correct the YAML', message] = SYNTAX_REMEDIES[error.code] ?? []
  const hint = suggestYamlFix(line)
  if (hint?.startsWith('put a space'))
    return { ...position, message: 'a space is missing in this line', remedy: hint }
  return {
    ...position,
    message: message ?? own.charAt(0).toLowerCase() + own.slice(1),
    remedy: hint ?? remedy,
  }
}
