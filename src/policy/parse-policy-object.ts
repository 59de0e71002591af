import type { Problem } from '../core/errors.ts'
import type { LoopTurns } from '../core/loop-turns.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { type EnvironmentVariables, substitute } from './env-substitution.ts'
import type { PolicyParseResult } from './parse-yaml.ts'
import { formatPath, type Located, type LocatedEntry, type ValuePath } from './source-positions.ts'

/**
 * Converts a policy object into located values without positions and substitutes the variables of `env`, in turns of
 * the event loop.
 */
export async function convertPolicyObject(
  value: object,
  env: EnvironmentVariables,
  turns: LoopTurns,
): Promise<PolicyParseResult> {
  const problems: Problem[] = []
  const lists = new Map<object, Located>()
  for (const [key, list] of Object.entries(value)) {
    if (!Array.isArray(list)) continue
    const items: Located[] = []
    for (const [index, item] of list.entries()) {
      if (turns.isOver()) await turns.next()
      items.push(locate(item, [key, index], [value, list], env, problems, NO_LISTS))
    }
    lists.set(list, { kind: 'list', position: {}, items })
  }
  const root = locate(value, [], [], env, problems, lists)
  return { root, problems }
}

const NO_LISTS: ReadonlyMap<object, Located> = new Map()

/** Converts a value. `lists` has the lists that are converted already. */
function locate(
  value: unknown,
  path: ValuePath,
  parents: readonly object[],
  env: EnvironmentVariables,
  problems: Problem[],
  lists: ReadonlyMap<object, Located>,
): Located {
  if (typeof value === 'string') {
    const { text, problems: flaws } = substitute(value, env)
    for (const flaw of flaws) problems.push({ path: formatPath(path), ...flaw })
    return { kind: 'scalar', position: {}, value: text, isUnreadable: flaws.length > 0 }
  }
  if (typeof value !== 'object' || value === null) return { kind: 'scalar', position: {}, value }
  const known = lists.get(value)
  if (known !== undefined) return known
  if (parents.length > MAX_SIZES.policyDepth || parents.includes(value)) {
    const message = `lists and objects nest deeper than ${MAX_SIZES.policyDepth}, or contain themselves`
    problems.push({ path: formatPath(path.slice(0, 3)), message, remedy: 'write them out, and flat' })
    return { kind: 'scalar', position: {}, value: null, isUnreadable: true }
  }
  const within = [...parents, value]
  if (Array.isArray(value)) {
    const items = value.map((item: unknown, index) =>
      locate(item, [...path, index], within, env, problems, lists),
    )
    return { kind: 'list', position: {}, items }
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
      entries.set(key, { key: {}, value: locate(inner, [...path, key], within, env, problems, lists) })
    }
  }
  return { kind: 'map', position: {}, entries }
}
