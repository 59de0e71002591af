import { stat } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { PolicyError, type Problem } from '../../core/errors.ts'
import { packageFile } from '../../core/package-files.ts'
import { overlayNameFromEnv, policyFilesFromEnv } from '../arguments/environment-variables.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'

/** Policies for brokers included in the package, each as config/NAME.yaml. */
export const READY_POLICIES: readonly string[] = [
  ...['fleet', 'api-style', 'edge-gateway', 'strict-ingest'],
  ...['zigbee2mqtt', 'sparkplug'],
]

/** Policies for publishers with the quotas of cloud services, included in the same way. */
export const SERVICE_QUOTA_POLICIES: readonly string[] = ['aws-iot-core', 'azure-iot-hub', 'adafruit-io']

/** Names that commands accept in place of a file. */
export const POLICY_NAMES: readonly string[] = [...READY_POLICIES, ...SERVICE_QUOTA_POLICIES]

/**
 * Returns the policy files of the command line, else those of TOPICGATE_POLICY. Throws CommandError if there are none.
 */
export function requirePolicyFiles(
  given: readonly string[],
  env: Terminal['env'],
  example: string,
): readonly string[] {
  const files = given.length > 0 ? given : policyFilesFromEnv(env)
  if (files.length > 0) return files
  throw new CommandError(`no policy was given (topicgate ${example})`, EXIT.usage)
}

/**
 * Resolves the files of a policy in order: later ones override earlier ones. If TOPICGATE_ENV is `prod`,
 * `policy.prod.yaml` overrides `policy.yaml` if it exists. The name of a ready policy (`fleet`) refers to its file in
 * the package. Throws PolicyError for missing files, whose names would otherwise be parsed as YAML, and for captures.
 */
export async function resolvePolicyFiles(
  paths: readonly string[],
  env: Terminal['env'],
): Promise<readonly string[]> {
  const overlay = overlayNameFromEnv(env)
  const problems: Problem[] = []
  const files: string[] = []
  for (const given of paths) {
    const file = await resolveReadyPolicy(given)
    const problem = await findFileProblem(file)
    if (problem !== undefined) {
      problems.push({ file, ...problem })
      continue
    }
    files.push(file)
    const over = overlay && overlayFileOf(file, overlay)
    if (over && !paths.includes(over) && (await isFile(over))) files.push(over)
  }
  if (problems.length > 0) throw new PolicyError(problems)
  return files
}

/** Returns why a file cannot be a policy; undefined if it may be one. */
async function findFileProblem(file: string): Promise<Problem | undefined> {
  const remedy = `name a policy file, as policy.yaml, or a ready policy: ${POLICY_NAMES.join(', ')}`
  const found = await stat(file).catch(() => undefined)
  if (found?.isDirectory()) return { message: 'this is a folder', remedy }
  if (found === undefined) {
    const isStdin = file === '-'
    const message = isStdin
      ? 'only validate and diff read a policy from the standard input'
      : 'there is no such file'
    return { message, remedy }
  }
  if (!/\.jsonl(?:\.gz)?$/.test(file)) return undefined
  return {
    message: 'this is a capture, not a policy',
    remedy:
      'name one capture, after the policies; several are joined by cat a.jsonl b.jsonl | topicgate replay policy.yaml -',
  }
}

/** Returns the file of a ready policy if a name without folder and extension matches one, else the name. */
async function resolveReadyPolicy(given: string): Promise<string> {
  if (!POLICY_NAMES.includes(given) || (await isFile(given))) return given
  return packageFile(`config/${given}.yaml`)
}

/** Returns `conf/policy.prod.yaml` for `conf/policy.yaml`. */
function overlayFileOf(file: string, overlay: string): string {
  const { dir, name, ext } = parse(file)
  return join(dir, `${name}.${overlay}${ext}`)
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false
}
