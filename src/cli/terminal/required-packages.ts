import { CommandError, EXIT } from './command-error.ts'

/** Optional packages that a command loads and that the package does not install. */
export const COMMAND_PACKAGES = {
  broker: ['aedes', 'ws', 'pino'],
  'broker --persistence': ['aedes-persistence-redis', 'ioredis'],
  gateway: ['ws', 'pino'],
  demo: ['aedes', 'ws', 'mqtt'],
  'capture --from mqtt': ['mqtt'],
  'capture --from nats': ['@nats-io/transport-node'],
  'simulate --broker mqtt://…': ['mqtt'],
  'simulate --broker nats://…': ['@nats-io/transport-node'],
} as const satisfies Record<string, readonly string[]>

/** Versions to install that are not the latest ones, because aedes does not support those. */
const VERSIONS: Readonly<Record<string, string>> = { 'aedes-persistence-redis': '11' }

/** Throws CommandError with the install command if a package of the command is missing. */
export function requirePackages(
  command: keyof typeof COMMAND_PACKAGES,
  isInstalled: (name: string) => boolean = canResolve,
): void {
  const missing = COMMAND_PACKAGES[command].filter(name => !isInstalled(name))
  if (missing.length === 0) return
  const versioned = COMMAND_PACKAGES[command].map(name =>
    VERSIONS[name] === undefined ? name : `${name}@${VERSIONS[name]}`,
  )
  const install = `npm install ${versioned.join(' ')}`
  throw new CommandError(
    `topicgate ${command} needs ${missing.join(', ')}, which is not installed (${install})`,
    EXIT.unavailable,
  )
}

function canResolve(name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}
