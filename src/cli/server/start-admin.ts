import { join, parse } from 'node:path'
import { type AdminServer, type AdminServerOptions, adminServer } from '../../admin/index.ts'
import { packageFile } from '../../core/package-files.ts'
import { type Gate, PolicyError } from '../../index.ts'
import { suggestInChildProcess } from '../suggestion/suggest-in-child-process.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

/** Options of the admin server of a command. */
export interface AdminOptions {
  readonly listen: readonly string[]
  readonly tokens: string
  readonly hosts: readonly string[]
  /** File of changes to the policy. Default: beside the first policy file, as policy.admin.yaml. */
  readonly overlay?: string | undefined
}

/**
 * Returns the file that the admin API writes changes of the policy to; undefined for a policy of the package, unless one
 * is given.
 */
export function resolveAdminOverlay(given: string | undefined, files: readonly string[]): string | undefined {
  const [first] = files
  if (given !== undefined || first === undefined || first.startsWith(packageFile('config/'))) return given
  const { dir, name, ext } = parse(first)
  return join(dir, `${name}.admin${ext}`)
}

/** Starts the admin server. Throws CommandError with exit code 2 for wrong options, and 69 for an address in use. */
export async function startAdmin(
  gate: Gate,
  { listen, tokens, hosts }: AdminOptions,
  observed: Pick<
    AdminServerOptions,
    | 'analytics'
    | 'durations'
    | 'alerts'
    | 'audit'
    | 'snapshots'
    | 'node'
    | 'broker'
    | 'policy'
    | 'listeners'
    | 'checks'
  >,
): Promise<AdminServer> {
  const { analytics, durations, alerts, audit, snapshots, node, broker, policy, listeners, checks } = observed
  const needsTokens = listen.some(address => !address.startsWith('unix:'))
  try {
    return await adminServer(gate, {
      listen,
      tokens: needsTokens ? tokens : undefined,
      hosts,
      analytics,
      durations,
      alerts,
      audit,
      snapshots,
      node,
      broker,
      policy,
      listeners,
      checks,
      suggestLimits: suggestInChildProcess,
    })
  } catch (cause) {
    if (cause instanceof PolicyError)
      throw new CommandError(`--admin: ${cause.message}`, EXIT.usage, { cause })
    const { code = String(cause) } = cause as NodeJS.ErrnoException
    const reason = code === 'EADDRINUSE' ? 'another program uses it' : code
    const text = `cannot serve the admin API at ${listen.join(' and ')}: ${reason} (choose another with --admin)`
    throw new CommandError(text, EXIT.unavailable, { cause })
  }
}
