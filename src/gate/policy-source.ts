import type { CustomAlgorithm } from '../algorithms/custom-algorithm-types.ts'
import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import type { CompiledPolicy } from '../policy/compile.ts'

/** A policy in any form: a path, YAML or JSON text, an object, or a list of them in which later ones win. */
export type PolicySource = string | object | readonly (string | object)[]

/** Options for reading and testing a policy. */
export interface ReadPolicyOptions {
  /** Environment for `${NAME}` in policies. Default: process.env. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** Custom algorithms that policies may name. */
  readonly algorithms?: readonly CustomAlgorithm[] | undefined
}

/** Reads and compiles a policy. Imported on first use, so that a gate built in code needs neither YAML nor zod. */
export async function loadCompiledPolicy(
  source: PolicySource,
  { env, algorithms }: ReadPolicyOptions,
): Promise<CompiledPolicy> {
  const { compilePolicy, loadPolicy } = await import('../policy/index.ts')
  return compilePolicy(await loadPolicy(source, { ...(env && { env }), ...(algorithms && { algorithms }) }))
}

/**
 * Calls `reload` after each change of a policy file. Returns a function that stops it. Throws PolicyError if
 * there are no files.
 */
export async function watchFiles(
  { source }: CompiledPolicy,
  reload: () => Promise<void>,
  clock: Clock,
): Promise<() => Promise<void>> {
  if (source.files.length === 0) {
    throw policyError(
      'watch',
      'the policy is not a file, so it cannot be watched',
      'give its path, or call apply',
    )
  }
  const { watchPolicy } = await import('../policy/index.ts')
  // Signals belong to the program.
  const watch = watchPolicy(source.files, reload, { clock, signal: false })
  return () => watch.close()
}
