import { CommandError, EXIT } from './command-error.ts'

/** Packages that only some commands load; the package itself does not install them. */
export const COMMAND_PACKAGES = {
  broker: ['aedes', 'ws', 'pino'],
  demo: ['aedes', 'ws', 'mqtt'],
} as const satisfies Record<string, readonly string[]>

/** Throws CommandFailure with the install command if a package that the command loads is missing. */
export function requirePackages(
  command: keyof typeof COMMAND_PACKAGES,
  isInstalled: (name: string) => boolean = canResolve,
): void {
  const missing = COMMAND_PACKAGES[command].filter(name => !isInstalled(name))
  if (missing.length === 0) return
  const install = `npm install ${COMMAND_PACKAGES[command].join(' ')}`
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
