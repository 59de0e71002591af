import { stat } from 'node:fs/promises'
import { indexAlgorithms } from '../algorithms/custom.ts'
import type { CustomAlgorithm } from '../algorithms/custom-algorithm-types.ts'
import { PolicyError, type Problem } from '../core/errors.ts'
import { LoopTurns } from '../core/loop-turns.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { quote } from '../core/units.ts'
import { compileDocument } from './compile-document.ts'
import type { LoadedPolicy } from './compiled-policy-types.ts'
import { type EnvironmentVariables, NO_VARIABLES } from './env-substitution.ts'
import { fingerprintOf } from './fingerprint.ts'
import { withHint } from './hints.ts'
import { findDuplicateNames, mergePolicies } from './merge-policies.ts'
import { convertPolicyObject } from './parse-policy-object.ts'
import { type PolicyParseResult, parseYaml } from './parse-yaml.ts'
import { readDocumentText } from './read-document-text.ts'
import type { PolicyDocument } from './schema.ts'
import { type Located, parsePolicyPath, positionOf } from './source-positions.ts'
import { validateAgainstSchema } from './validate-schema.ts'

export type { LoadedPolicy } from './compiled-policy-types.ts'

/** Options of {@link loadPolicy}. */
export interface LoadPolicyOptions {
  /** Default: process.env. */
  readonly env?: EnvironmentVariables | undefined
  readonly algorithms?: readonly CustomAlgorithm[] | undefined
  /** False refuses variables in policies given as text, whose author may not be allowed to read them. Default: true. */
  readonly substitutesText?: boolean | undefined
}

/** A policy as the path of a YAML or JSON file, as text or as an object. */
export type PolicyInput = string | object

/**
 * Loads a policy, or several that are merged: later ones win, and rules and exemptions are merged by name. A string is
 * a path if it names a file or ends in .yaml, .yml or .json, otherwise YAML. `${NAME}` and `${NAME:-default}` are
 * replaced from `env` (default: process.env). Rules may use the custom `algorithms`. Works in turns of the event loop of a
 * few milliseconds. Rejects with one PolicyError that lists all problems of form and meaning with position and remedy.
 */
export async function loadPolicy(
  source: PolicyInput | readonly PolicyInput[],
  options: LoadPolicyOptions = {},
): Promise<LoadedPolicy> {
  const env = options.env ?? process.env
  const textEnv = options.substitutesText === false ? NO_VARIABLES : env
  const algorithms = indexAlgorithms(options.algorithms ?? [])
  const turns = new LoopTurns()
  const parts: readonly PolicyInput[] = Array.isArray(source) ? source : [source as PolicyInput]
  const files: string[] = []
  const roots: Located[] = []
  const problems: Problem[] = []
  for (const part of parts) {
    const { root, problems: found, file } = await read(part, env, textEnv, turns)
    if (file !== undefined) files.push(file)
    for (const problem of found) problems.push(problem)
    if (root) {
      roots.push(root)
      for (const problem of findDuplicateNames(root)) problems.push(problem)
    }
  }
  const [first, ...others] = roots
  // The content of an unreadable part would be reported as missing from the rest.
  if (!first || roots.length < parts.length) throw createError(problems, first)
  const root = others.reduce(mergePolicies, first)
  const { plain, problems: ofForm, invalidPaths: wrong } = await validateAgainstSchema(root, turns)
  problems.push(...ofForm.map(problem => withHint(problem, root)))
  const document = plain as PolicyDocument
  if (ofForm.length > MAX_SIZES.policyProblems || root.kind !== 'map') throw createError(problems, root)
  const { compiled, problems: ofMeaning } = await compileDocument(document, wrong, algorithms, turns)
  for (const problem of ofMeaning) {
    if (turns.isOver()) await turns.next()
    problems.push(withHint(locate(root, problem), root))
  }
  if (problems.length > 0) throw createError(problems, root)
  return {
    document,
    files,
    compiled,
    fingerprint: await fingerprintOf(document, turns),
    locate: path => ({ path, ...positionOf(root, parsePolicyPath(path)) }),
  }
}

interface ReadPart extends PolicyParseResult {
  readonly file?: string | undefined
}

async function read(
  part: PolicyInput,
  env: EnvironmentVariables,
  textEnv: EnvironmentVariables,
  turns: LoopTurns,
): Promise<ReadPart> {
  if (typeof part === 'object' && part !== null) return convertPolicyObject(part, env, turns)
  if (typeof part !== 'string') {
    const message = `${quote(part)} is not a policy`
    return { root: undefined, problems: [{ message, remedy: 'give a path, YAML text or an object' }] }
  }
  if (!(await isPath(part))) return parseYaml(part, textEnv, turns)
  const text = await readDocumentText(part, 'policy', 'count by captures instead of listing topics')
  return typeof text === 'string'
    ? { ...(await parseYaml(text, env, turns, part)), file: part }
    : { root: undefined, problems: [{ file: part, ...text }], file: part }
}

async function isPath(text: string): Promise<boolean> {
  if (text.includes('\n') || text.length > 4096) return false
  if (/\.(?:ya?ml|json)$/i.test(text)) return true
  try {
    return (await stat(text)).isFile()
  } catch {
    return false
  }
}

function locate(root: Located, problem: Problem): Problem {
  const path = parsePolicyPath(problem.path ?? '')
  const isWord = problem.message.startsWith('`')
  return { ...positionOf(root, path, isWord ? 'key' : 'value'), ...problem }
}

/**
 * Builds one error of all problems, without duplicates, in the order of files and lines; above a bound they are only
 * counted.
 */
function createError(problems: readonly Problem[], root: Located | undefined): PolicyError {
  const files = [...new Set(problems.map(({ file }) => file))]
  const unique = [...new Map(problems.map(problem => [JSON.stringify(problem), problem])).values()]
  const sorted = unique.sort(
    (a, b) =>
      files.indexOf(a.file) - files.indexOf(b.file) ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0),
  )
  const shown = sorted.slice(0, MAX_SIZES.policyProblems)
  const more = sorted.length - shown.length
  if (more > 0) {
    const message = `there are ${more} more problems`
    shown.push({
      file: root?.position.file,
      message,
      remedy: 'fix these first',
    })
  }
  return new PolicyError(shown)
}
