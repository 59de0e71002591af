import type { CustomAlgorithm } from '../algorithms/custom.ts'
import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import type { CompiledPolicy } from '../policy/compile.ts'

/** A policy in any form: paths, YAML or JSON text, an object, or a list of them where the later wins. */
export type PolicySource = string | object | readonly (string | object)[]

/** What it takes to read a policy, and to try it. */
export interface ReadOptions {
  /** Environment for `${NAME}` in policies. Default: process.env. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** Algorithms of one's own that policies may name. */
  readonly algorithms?: readonly CustomAlgorithm[] | undefined
  /** The load adaptive limits go by instead of a measured one, 0 to 1; `none`: they are as they are written. */
  readonly load?: number | 'none' | undefined
}

/** Reads and compiles a policy. Loaded when first asked for: a gate built in code needs neither YAML nor zod. */
export async function readPolicy(
  source: PolicySource,
  { env, algorithms }: ReadOptions,
): Promise<CompiledPolicy> {
  const { compilePolicy, loadPolicy } = await import('../policy/index.ts')
  return compilePolicy(await loadPolicy(source, { ...(env && { env }), ...(algorithms && { algorithms }) }))
}

/** Calls `reload` whenever a file of the policy has changed; returns how to end it. Throws PolicyError without files. */
export async function watchFiles(
  { source }: CompiledPolicy,
  reload: () => Promise<void>,
  clock: Clock,
): Promise<() => Promise<void>> {
  if (source.files.length === 0) {
    throw policyError('watch', 'the policy is no file that could be watched', 'give its path, or call apply')
  }
  const { watchPolicy } = await import('../policy/index.ts')
  // Signals belong to the program.
  const watch = watchPolicy(source.files, reload, { clock, signal: false })
  return () => watch.close()
}
