/** Position of a problem in a policy. Line and column count from 1. */
export interface Position {
  readonly file?: string | undefined
  readonly line?: number | undefined
  readonly column?: number | undefined
  /** Path of the value, such as `rules[2].limit`. */
  readonly path?: string | undefined
}

/** A problem of a policy: message, position and remedy. */
export interface Problem extends Position {
  readonly message: string
  readonly remedy?: string | undefined
}

/** Replaces characters that move the cursor or hide text in a terminal or log. */
export function withoutControls(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '�')
}

export function formatProblem(problem: Problem): string {
  const file = problem.file === undefined ? undefined : withoutControls(problem.file)
  const position = [file, problem.line, problem.column].filter(part => part !== undefined).join(':')
  const subject = problem.path ? `${problem.path}: ` : ''
  const remedy = problem.remedy ? ` (${problem.remedy})` : ''
  return `${position ? `${position}: ` : ''}${subject}${problem.message}${remedy}`
}

/** Error for an invalid policy or option. Lists all problems. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError'
  readonly code = 'TOPICGATE_POLICY'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[], options?: ErrorOptions) {
    super(problems.map(formatProblem).join('\n'), options)
    this.problems = problems
  }
}

/** Error for a broken or unreachable store. Never used for a refusal. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly code = 'TOPICGATE_STORE'
}

/** Error for an operation that a broker, store or version does not support. */
export class UnsupportedError extends Error {
  override readonly name = 'UnsupportedError'
  readonly code = 'TOPICGATE_UNSUPPORTED'
}

/** Creates a policy error with a single problem. */
export function policyError(path: string, message: string, remedy?: string): PolicyError {
  return new PolicyError([{ path, message, remedy }])
}

/** Throws PolicyError if a word is not one of the known ones. */
export function checkWord(word: unknown, known: readonly string[], path: string, noun: string): void {
  if (known.includes(word as string)) return
  const shown = typeof word === 'string' ? JSON.stringify(word.slice(0, 60)) : String(word)
  throw policyError(
    path,
    `${shown} is not ${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`,
    `use one of ${known.join(', ')}`,
  )
}

/** Runs a check of a nested value. Prefixes the paths of its problems with `path`. */
export function checkWithPathPrefix<T>(path: string, check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    throw new PolicyError(
      error.problems.map(problem => ({ ...problem, path: joinPath(path, problem.path ?? '') })),
      { cause: error },
    )
  }
}

function joinPath(path: string, inner: string): string {
  return inner === '' ? path : inner.startsWith('[') ? path + inner : `${path}.${inner}`
}
