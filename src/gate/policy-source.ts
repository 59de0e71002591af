import type { CustomAlgorithm } from '../algorithms/custom-algorithm-types.ts'
import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import type { LoadedPolicy } from '../policy/compiled-policy-types.ts'

/** A policy in any form: a path, YAML or JSON text, an object, or a list of them in which later ones win. */
export type PolicySource = string | object | readonly (string | object)[]

/** Options for reading and testing a policy. */
export interface ReadPolicyOptions {
  /** Environment for `${NAME}` in policies. Default: process.env. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** Custom algorithms that policies may name. */
  readonly algorithms?: readonly CustomAlgorithm[] | undefined
}

/** Loads a policy. The code is imported on first use, so that a gate built in code needs neither YAML nor zod. */
export async function loadPolicySource(
  source: PolicySource,
  { env, algorithms }: ReadPolicyOptions,
): Promise<LoadedPolicy> {
  const { loadPolicy } = await import('../policy/index.ts')
  return loadPolicy(source, { ...(env && { env }), ...(algorithms && { algorithms }) })
}

/**
 * Calls `reload` after each change of a policy file. Returns a function that stops it. Throws PolicyError if
 * there are no files.
 */
export async function watchFiles(
  { files }: LoadedPolicy,
  reload: () => Promise<void>,
  clock: Clock,
): Promise<() => Promise<void>> {
  if (files.length === 0) {
    throw policyError(
      'watch',
      'the policy is not a file, so it cannot be watched',
      'give its path, or call apply',
    )
  }
  const { watchPolicy } = await import('../policy/index.ts')
  // Signals belong to the program.
  const watch = watchPolicy(files, reload, { clock, signal: false })
  return () => watch.close()
}
