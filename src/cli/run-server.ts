import { existsSync } from 'node:fs'
import type { Logger } from 'pino'
import type { AdminServer, AdminServerOptions, ServerCheck } from '../admin/index.ts'
import { formatProblem, PolicyError } from '../core/errors.ts'
import { type Dialect, Gate, type MetricFamily, type MetricSources } from '../index.ts'
import { watchPolicy } from '../policy/index.ts'
import type { ReloadableFiles } from './access-files.ts'
import { EXIT } from './command-error.ts'
import { isLimitingEnabled, readStoreOverlay } from './environment-variables.ts'
import type { HealthOptions, HealthServer } from './health-server.ts'
import type { ListenerPorts } from './listeners/open-listeners.ts'
import { createLogger } from './log.ts'
import { resolvePolicyFiles } from './resolve-policy-files.ts'
import type { AdminOptions } from './start-admin.ts'
import { type Monitoring, type MonitoringOptions, startMonitoring } from './start-monitoring.ts'
import type { Terminal } from './terminal.ts'
import { TerminationSignalWaiter } from './termination-signal-waiter.ts'

/** Maximum time for held messages to pass at shutdown. */
const DRAIN_MS = 5_000

/** Options of the commands that serve clients: broker and gateway. */
export interface ServerOptions extends MonitoringOptions, ListenerPorts {
  readonly policy: readonly string[]
  readonly host: string
  /** Default: no health server. */
  readonly healthPort: number | undefined
  readonly logLevel: string
  readonly json: boolean
  /** Default: no admin server. */
  readonly admin: AdminOptions | undefined
  readonly trustProxy: readonly string[]
  readonly proxyProtocol: boolean
  /** Default: 1 MiB. */
  readonly maxPacketBytes: number | undefined
}

type ServerStats = { readonly connections: number; readonly held: number }

/** Schemes of the addresses of listeners. */
const SCHEMES = {
  mqtt: { plain: 'mqtt', tls: 'mqtts' },
  nats: { plain: 'nats', tls: 'tls' },
} as const satisfies Record<Dialect, object>

export interface RunningServer extends ListenerPorts {
  readonly protocol: Dialect
  /** Limiter of the broker, or the gateway. */
  readonly limits: NonNullable<AdminServerOptions['broker']> &
    NonNullable<MetricSources['guards']>[number] & { stats(): ServerStats }
  /** Returns false if clients cannot be served now. */
  isServing(): boolean
  collectMetrics(): readonly MetricFamily[]
  /** Checks of `topicgate doctor`, such as of certificates or of the broker behind a gateway. */
  runChecks?(): readonly ServerCheck[] | Promise<readonly ServerCheck[]>
  /** Stops accepting connections, lets held messages pass for at most `drainMs`, then disconnects all clients. */
  close(drainMs: number): Promise<void>
}

/** A server whose files have been read. */
export interface PreparedServer {
  /** Files to read again when they change. */
  readonly files: readonly ReloadableFiles[]
  start(gate: Gate): Promise<RunningServer>
}

/**
 * Runs a server until SIGINT or SIGTERM, with its health, metrics and admin servers. Reloads the policy when a file
 * changes or at SIGHUP; an invalid policy is logged and the old one stays active. Returns the exit code.
 */
export async function runServer(
  options: ServerOptions,
  terminal: Terminal,
  prepare: (log: Logger) => Promise<PreparedServer>,
): Promise<number> {
  const log = createLogger(options.logLevel, options.json, terminal)
  const { env } = terminal
  const files = await resolvePolicyFiles(options.policy, env)
  const store = readStoreOverlay(env)
  const adminCode = options.admin && (await import('./start-admin.ts'))
  const overlay = adminCode?.resolveAdminOverlay(options.admin?.overlay, files)
  const listPolicy = (): readonly (string | object)[] => [
    ...files,
    ...(overlay !== undefined && existsSync(overlay) ? [overlay] : []),
    ...(store === undefined ? [] : [store]),
  ]
  const prepared = await prepare(log)
  const isLimiting = isLimitingEnabled(env)
  const gate = isLimiting
    ? await Gate.fromPolicy(listPolicy(), { env, logger: log })
    : new Gate({ logger: log })
  if (!isLimiting) log.warn('TOPICGATE_ENABLED is false: nothing is limited, everything passes')
  logGateEvents(gate, log)
  const stop = new TerminationSignalWaiter()
  let serving = false
  let server: RunningServer | undefined
  let health: HealthServer | undefined
  let monitoring: Monitoring | undefined
  let admin: AdminServer | undefined
  const watches: ReturnType<typeof watchPolicy>[] = []
  try {
    const runningMonitoring = await startMonitoring(gate, log, options)
    monitoring = runningMonitoring
    if (options.healthPort !== undefined) {
      const readState = (): ReturnType<HealthOptions['readState']> => ({
        serving: serving && server?.isServing() === true,
        rules: countRules(gate.rules()),
      })
      const metrics = (): Promise<string> => runningMonitoring.metrics(server)
      const { host, healthPort: port } = options
      const { startHealth } = await import('./health-server.ts')
      health = await startHealth({ store: gate.store, readState: readState, metrics, host, port })
    }
    server = await prepared.start(gate)
    const reload = async (): Promise<void> => {
      if (isLimiting) await gate.apply(listPolicy())
    }
    watches.push(watchPolicy(files, reload))
    for (const { files: reloadable, reload: reloadFiles, name } of prepared.files) {
      const onError = (error: unknown): void =>
        logFileError(log, error, `the ${name} was not reloaded, the old one stays`)
      watches.push(watchPolicy(reloadable, reloadFiles, { onError }))
    }
    const { port, wsPort, tlsPort, wssPort } = server
    const { plain, tls } = SCHEMES[server.protocol]
    const listeners = Object.entries({ [plain]: port, ws: wsPort, [tls]: tlsPort, wss: wssPort }).flatMap(
      ([scheme, bound]) => (bound === undefined ? [] : [`${scheme}://${hostOf(options)}:${bound}`]),
    )
    if (options.admin !== undefined && adminCode !== undefined) {
      const { limits: broker } = server
      admin = await adminCode.startAdmin(gate, options.admin, {
        ...runningMonitoring,
        broker,
        policy: { files, overlay, reload },
        listeners,
        checks: async options => [
          ...((await server?.runChecks?.()) ?? []),
          ...(await runningMonitoring.runChecks(options)),
        ],
      })
    }
    serving = true
    const urls = [
      ...listeners,
      ...(health === undefined ? [] : [`http://${hostOf(options)}:${health.port}/ready`]),
      ...(admin?.urls ?? []),
    ]
    if (isLoopback(options.host))
      log.info({ host: options.host }, 'only this machine can connect (use --host 0.0.0.0 for others)')
    log.info({ port, wsPort, tlsPort, wssPort, rules: countRules(gate.rules()) }, `ready: ${urls.join(' ')}`)
    const signal = await stop.received
    serving = false
    const { connections, held } = server.limits.stats()
    log.info({ signal, connections, held }, 'ending')
  } finally {
    // Also after a failed start: a listener would keep the process alive.
    stop.release()
    for (const watch of watches) await watch.close()
    await admin?.close()
    await server?.close(DRAIN_MS)
    await monitoring?.close()
    await health?.close()
    await gate.close()
  }
  log.info('ended')
  return EXIT.fine
}

function logGateEvents(gate: Gate, log: Logger): void {
  gate.on('warning', warning =>
    log.warn(
      warning,
      warning.kind === 'limit_near' ? 'a key is close to its limit' : 'a rule has more keys than its maximum',
    ),
  )
  gate.on('scaled', scaled => log.info({ factor: 1, ...scaled }, 'limits are scaled by the load'))
  gate.on('policy', change => {
    if (change.kind === 'applied') log.info({ rules: countRules(change.rules) }, 'policy reloaded')
    else logFileError(log, change.error, 'the policy was not reloaded, the old one stays')
  })
}

/** Limits of exemptions are named with a prefix that policy rules cannot have. */
function countRules(names: readonly string[]): number {
  return names.filter(name => !name.startsWith('exempt:')).length
}

/** Logs every problem in a line of its own, with its position in the file, and then the consequence. */
function logFileError(log: Logger, error: unknown, consequence: string): void {
  if (!(error instanceof PolicyError)) {
    log.error({ err: error }, consequence)
    return
  }
  for (const problem of error.problems) log.error({ ...problem, message: undefined }, formatProblem(problem))
  log.error({ problems: error.problems.length }, consequence)
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

function hostOf({ host }: ServerOptions): string {
  return host.includes(':') ? `[${host}]` : host
}
