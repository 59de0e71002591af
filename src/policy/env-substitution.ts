/** Variables by name, such as `process.env`. */
export type EnvironmentVariables = Readonly<Record<string, string | undefined>>

export interface SubstitutionResult {
  readonly text: string
  /** True if the text contained references. */
  readonly isChanged: boolean
  readonly problems: readonly SubstitutionProblem[]
}

/** A problem and its remedy. */
export interface SubstitutionProblem {
  readonly message: string
  readonly remedy: string
  /** Name of the variable that is not set. */
  readonly variable?: string | undefined
}

/** For texts whose author may not read variables. References are problems. */
export const NO_VARIABLES: EnvironmentVariables = {}

/** Maximum nesting of references in defaults. */
const MAX_DEPTH = 8

/**
 * Replaces `${NAME}` and `${NAME:-default}` (the default is used if the variable is unset or empty, as in a shell).
 * `$${` is a literal `${`. Values are not substituted again, so that they cannot refer to other variables.
 */
export function substitute(text: string, env: EnvironmentVariables, depth = 0): SubstitutionResult {
  if (!text.includes('${')) return { text, isChanged: false, problems: [] }
  if (env === NO_VARIABLES) {
    const message = 'variables are not substituted in this text'
    return { text, isChanged: false, problems: [{ message, remedy: 'write the value' }] }
  }
  const flaws: SubstitutionProblem[] = []
  let result = ''
  let from = 0
  for (let at = text.indexOf('${'); at >= 0; at = text.indexOf('${', from)) {
    if (at > from && text[at - 1] === '$') {
      result += `${text.slice(from, at - 1)}\${`
      from = at + 2
      continue
    }
    result += text.slice(from, at)
    const end = findClosingBrace(text, at + 2)
    const match =
      depth < MAX_DEPTH && /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/.exec(text.slice(at + 2, end))
    if (end < 0 || !match) {
      flaws.push({
        message: `${JSON.stringify(text.slice(at, end < 0 ? at + 20 : end + 1))} is not a reference to a variable`,
        remedy: `write \${NAME} or \${NAME:-default}, and $\${ for a literal \${`,
      })
      return { text, isChanged: true, problems: flaws }
    }
    const [, name = '', fallback] = match
    const value = Object.hasOwn(env, name) ? env[name] : undefined
    if (fallback !== undefined && (value === undefined || value === '')) {
      const inner = substitute(fallback, env, depth + 1)
      result += inner.text
      for (const problem of inner.problems) flaws.push(problem)
    } else if (value !== undefined) result += value
    else {
      flaws.push({
        message: `the variable ${name} is not set`,
        remedy: `set it, or give a default: \${${name}:-…}`,
        variable: name,
      })
    }
    from = end + 1
  }
  return { text: result + text.slice(from), isChanged: true, problems: flaws }
}

/** Returns the index of the closing brace; a default may contain pairs of braces, such as a topic with captures. */
function findClosingBrace(text: string, from: number): number {
  let depth = 1
  for (let at = from; at < text.length; at++) {
    if (text[at] === '{') depth++
    else if (text[at] === '}' && --depth === 0) return at
  }
  return -1
}

/** Resolves a plain YAML scalar by the core schema (YAML 1.2, 10.3.2). */
export function resolvePlainScalar(text: string): string | number | boolean | null {
  if (/^(?:~|null|Null|NULL)?$/.test(text)) return null
  if (/^(?:true|True|TRUE)$/.test(text)) return true
  if (/^(?:false|False|FALSE)$/.test(text)) return false
  if (/^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$/.test(text)) return Number(text)
  if (/^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/.test(text)) return Number(text)
  return text
}
