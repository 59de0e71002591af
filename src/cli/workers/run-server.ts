import { existsSync } from 'node:fs'
import type { AdminServer } from '../../admin/index.ts'
import { type Dialect, Gate } from '../../index.ts'
import { watchPolicy } from '../../policy/index.ts'
import { isLimitingEnabled, storeOverlayFromEnv } from '../arguments/environment-variables.ts'
import type { HealthOptions, HealthServer } from '../monitoring/health-server.ts'
import { createLogger } from '../monitoring/log.ts'
import {
  countPolicyRules,
  logFileError,
  logGateWarnings,
  logPolicyChanges,
} from '../monitoring/log-gate-events.ts'
import { type Monitoring, startMonitoring } from '../monitoring/start-monitoring.ts'
import { resolvePolicyFiles } from '../policy/resolve-policy-files.ts'
import { prepareServer } from '../server/prepare-server.ts'
import {
  MAX_DRAIN_MS,
  type PreparedServer,
  type RunningServer,
  type ServerOptions,
  type ServerPreparation,
} from '../server/server-types.ts'
import { EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { TerminationSignalWaiter } from '../terminal/termination-signal-waiter.ts'
import { isWorker } from './worker-api.ts'

/** Schemes of the addresses of listeners. */
const SCHEMES = {
  mqtt: { plain: 'mqtt', tls: 'mqtts' },
  nats: { plain: 'nats', tls: 'tls' },
} as const satisfies Record<Dialect, object>

/**
 * Runs a server until SIGINT or SIGTERM, with its health, metrics and admin servers. Reloads the policy when a file
 * changes or at SIGHUP; an invalid policy is logged and the old one stays active. With `workers`, other processes serve
 * the clients, and this one has all the rest. Returns the exit code.
 */
export async function runServer(
  options: ServerOptions,
  terminal: Terminal,
  prepare: ServerPreparation,
): Promise<number> {
  const workersCode = options.workers === undefined ? undefined : await import('./prepare-workers.ts')
  if (workersCode !== undefined && isWorker(terminal.env))
    return (await import('./run-worker.ts')).runWorker(options, terminal, prepare)
  const log = createLogger(options.logLevel, options.json, terminal)
  const { env } = terminal
  const files = await resolvePolicyFiles(options.policy, env)
  const store = storeOverlayFromEnv(env)
  const adminCode = options.admin && (await import('../server/start-admin.ts'))
  const overlay = adminCode?.resolveAdminOverlay(options.admin?.overlay, files)
  const listPolicy = (): readonly (string | object)[] => [
    ...files,
    ...(overlay !== undefined && existsSync(overlay) ? [overlay] : []),
    ...(store === undefined ? [] : [store]),
  ]
  const isLimiting = isLimitingEnabled(env)
  const workers = await workersCode?.prepareWorkers(options, isLimiting ? listPolicy() : [], env, log)
  const prepared: PreparedServer =
    workers ?? (await prepareServer(options, undefined, terminal, prepare, log))
  const gate = isLimiting
    ? await Gate.fromPolicy(listPolicy(), { env, logger: log, store: workers?.store })
    : new Gate({ logger: log, store: workers?.store })
  if (!isLimiting) log.warn('TOPICGATE_ENABLED is false: nothing is limited, everything passes')
  logGateWarnings(gate, log)
  logPolicyChanges(gate, log)
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
        rules: countPolicyRules(gate.rules()),
      })
      const metrics = async (): Promise<string> => {
        await server?.refresh?.()
        return runningMonitoring.metrics(server)
      }
      const { host, healthPort: port } = options
      const { startHealth } = await import('../monitoring/health-server.ts')
      health = await startHealth({ store: gate.store, readState: readState, metrics, host, port })
    }
    server = await prepared.start(gate, runningMonitoring)
    const reload = async (): Promise<void> => {
      if (!isLimiting) return
      await gate.apply(listPolicy())
      if (gate.policy !== undefined) await server?.applyPolicy?.(gate.policy)
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
    log.info(
      { port, wsPort, tlsPort, wssPort, rules: countPolicyRules(gate.rules()) },
      `ready: ${urls.join(' ')}`,
    )
    const signal = await stop.received
    serving = false
    const { connections, held } = server.limits.stats()
    log.info({ signal, connections, held }, 'ending')
  } finally {
    // Also after a failed start: a listener would keep the process alive.
    stop.release()
    for (const watch of watches) await watch.close()
    await admin?.close()
    await server?.close(MAX_DRAIN_MS)
    await monitoring?.close()
    await health?.close()
    await gate.close()
    await workers?.store?.close()
  }
  log.info('ended')
  return EXIT.fine
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

function hostOf({ host }: ServerOptions): string {
  return host.includes(':') ? `[${host}]` : host
}
