import type { Middleware } from '../chain/middleware-types.ts'
import { getMiddlewareMeta } from '../chain/routing/plan-steps.ts'
import { PolicyError, type Problem, policyError } from '../core/errors.ts'
import type { Dialect } from '../core/message.ts'
import type { CompiledPolicy, LoadedPolicy } from '../policy/compiled-policy-types.ts'
import { MemoryStore } from '../stores/memory/memory-store.ts'
import type { StoreSpec } from '../stores/normalize-store-options.ts'
import { findStoreLimitProblem, type Store } from '../stores/store.ts'
import { schemeOf } from '../stores/store-url-schemes.ts'

const REMEDY = 'use another algorithm, or another store'

/** Checks that `gate.use` was given middleware. Throws PolicyError. */
export function checkMiddleware(given: unknown): void {
  if (typeof given === 'function') return
  const { admit, guard, limit, rate } = Object(given) as Readonly<Record<string, unknown>>
  const part = typeof admit === 'function' ? 'admit' : typeof guard === 'function' ? 'guard' : undefined
  const maker = (limit ?? rate) === undefined ? 'limit, quota, exempt or adaptive return' : 'limit(…) returns'
  const remedy =
    part === undefined ? `give what ${maker}, or a function (message, next)` : `give its \`${part}\``
  throw policyError('', `gate.use was given ${describeKind(given)}, which is not middleware`, remedy)
}

function describeKind(given: unknown): string {
  if (given === undefined || given === null) return 'nothing'
  return Array.isArray(given) ? 'a list' : typeof given === 'object' ? 'an object' : `a ${typeof given}`
}

/**
 * Checks that a store supports each rule and exemption of a policy. Throws PolicyError with the position of
 * each problem.
 */
export function checkPolicySupport({ compiled, locate }: LoadedPolicy, store: Store): void {
  const { entries, exemptions, adaptive } = compiled
  const problems: Problem[] = []
  const problem = adaptive && findAcrossProblem(adaptive, store)
  if (problem !== undefined)
    problems.push({ ...locate('adaptive.across'), message: problem, remedy: NODE_REMEDY })
  entries.forEach(({ middleware }, index) => {
    const limit = getMiddlewareMeta(middleware)?.rule?.limit
    const refusal = limit && findStoreLimitProblem(store, limit)
    if (refusal === undefined) return
    const at = index - exemptions.length
    const path = at < 0 ? `exempt[${index}].limit` : `rules[${at}]`
    problems.push({ ...locate(path), message: refusal, remedy: REMEDY })
  })
  if (problems.length > 0) throw new PolicyError(problems)
}

const NODE_REMEDY =
  'write across: node, or use a store that shares entries between nodes, such as Redis or SQLite'

/** Returns the reason why adaptive() cannot use the load of all nodes of a store. Memory stores have this node only. */
function findAcrossProblem(middleware: Middleware, store: Store): string | undefined {
  const meta = getMiddlewareMeta(middleware)
  if (meta?.kind !== 'scale' || meta.across === 'node') return undefined
  if (store.sharedEntries !== undefined || store instanceof MemoryStore) return undefined
  return `the ${store.name} store does not share the load of nodes`
}

/** Checks that a store supports the limit of a middleware. Throws PolicyError. */
export function checkLimitSupport(middleware: Middleware, store: Store): void {
  const problem = findAcrossProblem(middleware, store)
  if (problem !== undefined) throw policyError('across', problem, NODE_REMEDY)
  const limit = getMiddlewareMeta(middleware)?.rule?.limit
  const refusal = limit && findStoreLimitProblem(store, limit)
  if (refusal !== undefined) throw policyError(limit!.name, refusal, REMEDY)
}

/**
 * Checks that a policy names the same store as before. Why: counts would be left behind in the old one.
 * Throws PolicyError.
 */
export function checkSameStore({ compiled, locate }: LoadedPolicy, opened: StoreSpec): void {
  if (JSON.stringify(compiled.store) === JSON.stringify(opened)) return
  // Never the URLs: they may hold passwords.
  const message = `the store of a running gate cannot be changed, and this one was opened with ${schemeOf(opened.url)}`
  const remedy = 'restart with the new policy, or leave `store` as it was'
  throw new PolicyError([{ ...locate('store'), message, remedy }])
}

/** Checks that a policy has the dialect of the middleware added in code. Throws PolicyError. */
export function checkSameDialect(policy: CompiledPolicy, dialect: Dialect): void {
  if (policy.dialect === dialect) return
  throw policyError(
    'dialect',
    `middleware added with gate.use is for ${dialect}`,
    `write dialect: ${dialect}`,
  )
}
