import type { Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { type Env, substitute } from './env-substitution.ts'
import type { ParsedPolicy } from './parse-yaml.ts'
import { formatPath, type Located, type LocatedEntry, type ValuePath } from './source-positions.ts'

/** Converts a policy object into located values without positions and substitutes the variables of `env`. */
export function convertPolicyObject(value: object, env: Env): ParsedPolicy {
  const problems: Problem[] = []
  const root = locate(value, [], [], env, problems)
  return { root, problems }
}

function locate(
  value: unknown,
  path: ValuePath,
  parents: readonly object[],
  env: Env,
  problems: Problem[],
): Located {
  if (typeof value === 'string') {
    const { text, problems: flaws } = substitute(value, env)
    for (const flaw of flaws) problems.push({ path: formatPath(path), ...flaw })
    return { kind: 'scalar', place: {}, value: text, isUnread: flaws.length > 0 }
  }
  if (typeof value !== 'object' || value === null) return { kind: 'scalar', place: {}, value }
  if (parents.length > MAX_SIZES.policyDepth || parents.includes(value)) {
    const message = `lists and objects nest deeper than ${MAX_SIZES.policyDepth}, or contain themselves`
    problems.push({ path: formatPath(path.slice(0, 3)), message, remedy: 'write them out, and flat' })
    return { kind: 'scalar', place: {}, value: null, isUnread: true }
  }
  const within = [...parents, value]
  if (Array.isArray(value)) {
    const items = value.map((item: unknown, index) => locate(item, [...path, index], within, env, problems))
    return { kind: 'list', place: {}, items }
  }
  const entries = new Map<string, LocatedEntry>()
  for (const [key, inner] of Object.entries(value)) {
    if (key === '__proto__') {
      problems.push({
        path: formatPath([...path, key]),
        message: '`__proto__` cannot be a key',
        remedy: 'remove it',
      })
    } else if (inner !== undefined) {
      entries.set(key, { key: {}, value: locate(inner, [...path, key], within, env, problems) })
    }
  }
  return { kind: 'map', place: {}, entries }
}
