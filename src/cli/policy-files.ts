import { stat } from 'node:fs/promises'
import { PolicyError, type Problem } from '../errors.ts'

/**
 * The files of a policy as given on the command line, in their order: later ones are laid over earlier ones.
 * Throws PolicyError for those that are not there, as their names would otherwise be read as YAML.
 */
export async function findPolicyFiles(paths: readonly string[]): Promise<readonly string[]> {
  const problems: Problem[] = []
  for (const file of paths) {
    const found = await stat(file).catch(() => undefined)
    if (found && !found.isDirectory()) continue
    const message = found ? 'this is a folder' : 'there is no such file'
    problems.push({ file, message, remedy: 'name a policy file, as policy.yaml' })
  }
  if (problems.length > 0) throw new PolicyError(problems)
  return paths
}
