/** Where in a policy a problem stands; line and column count from 1. */
export interface Position {
  readonly file?: string | undefined
  readonly line?: number | undefined
  readonly column?: number | undefined
  /** The way to the value, as `rules[2].limit`. */
  readonly path?: string | undefined
}

/** One thing wrong with a policy: what, where, and the remedy. */
export interface Problem extends Position {
  readonly message: string
  readonly remedy?: string | undefined
}

/** Replaces characters that move a cursor or hide text in a terminal or a log. */
export function withoutControls(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '�')
}

export function formatProblem(problem: Problem): string {
  const file = problem.file === undefined ? undefined : withoutControls(problem.file)
  const place = [file, problem.line, problem.column].filter(part => part !== undefined).join(':')
  const subject = problem.path ? `${problem.path}: ` : ''
  const remedy = problem.remedy ? ` (${problem.remedy})` : ''
  return `${place ? `${place}: ` : ''}${subject}${problem.message}${remedy}`
}

/** A policy, or an option given in code, that cannot be used. Holds all its problems at once. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError'
  readonly code = 'TOPICGATE_POLICY'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[], options?: ErrorOptions) {
    super(problems.map(formatProblem).join('\n'), options)
    this.problems = problems
  }
}

/** A store that is broken or out of reach. Never a refusal. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly code = 'TOPICGATE_STORE'
}

/** Something asked of a broker, store or version that cannot do it. */
export class UnsupportedError extends Error {
  override readonly name = 'UnsupportedError'
  readonly code = 'TOPICGATE_UNSUPPORTED'
}

/** A policy error with a single problem. */
export function policyError(path: string, message: string, remedy?: string): PolicyError {
  return new PolicyError([{ path, message, ...(remedy === undefined ? {} : { remedy }) }])
}

/** Throws PolicyError for a word that is none of the known ones. */
export function checkWord(word: unknown, known: readonly string[], path: string, noun: string): void {
  if (known.includes(word as string)) return
  const shown = typeof word === 'string' ? JSON.stringify(word.slice(0, 60)) : String(word)
  throw policyError(path, `${shown} is no ${noun}`, `use one of ${known.join(', ')}`)
}

/** Runs a check of something nested: the paths of the problems it throws are prefixed with `path`. */
export function checkWithin<T>(path: string, check: () => T): T {
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
