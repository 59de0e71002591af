import { type LoadedPolicy, loadPolicy } from '../../policy/index.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { resolvePolicyFiles } from './resolve-policy-files.ts'

/** A policy, with its files as the user named them or as they were found; `-` is the standard input. */
export interface NamedPolicy {
  readonly loaded: LoadedPolicy
  readonly files: readonly string[]
}

/** Loads a policy from files that override each other; `-` is the standard input. Rejects with PolicyError, or with CommandError for two `-`. */
export async function loadNamedPolicy(
  named: readonly string[],
  { stdin, env }: Pick<Terminal, 'stdin' | 'env'>,
): Promise<NamedPolicy> {
  if (!named.includes('-')) {
    const files = await resolvePolicyFiles(named, env)
    return { loaded: await loadPolicy(files, { env }), files }
  }
  if (named.indexOf('-') !== named.lastIndexOf('-'))
    throw new CommandError('the standard input is read once: name a file in place of one -', EXIT.usage)
  const chunks: Buffer[] = []
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk as Uint8Array))
  // A line break marks it as text: a single word would be a file name.
  const text = `${Buffer.concat(chunks).toString('utf8')}\n`
  const parts = await Promise.all(
    named.map(async file => (file === '-' ? [text] : await resolvePolicyFiles([file], env))),
  )
  return { loaded: await loadPolicy(parts.flat(), { env }), files: named }
}
