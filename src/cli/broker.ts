import type { Logger } from 'pino'
import { formatProblem, PolicyError } from '../core/errors.ts'
import { Gate } from '../index.ts'
import { watchPolicy } from '../policy/index.ts'
import { EXIT } from './command-error.ts'
import { isEnabled, storeOf } from './environment.ts'
import { type HealthOptions, type HealthServer, startHealth } from './health-server.ts'
import { openLog } from './log.ts'
import { type Monitoring, type MonitoringOptions, observe } from './monitoring.ts'
import { type MqttServer, startMqttServer } from './mqtt-server.ts'
import { findPolicyFiles } from './policy-files.ts'
import { StopSignal } from './stop-signal.ts'
import type { Terminal } from './terminal.ts'

/** How long messages that are held may go on passing when the broker is told to end. */
const DRAIN_MS = 5_000

export interface BrokerOptions extends MonitoringOptions {
  readonly policy: readonly string[]
  readonly host: string
  readonly port: number
  readonly wsPort?: number | undefined
  /** Default: nobody is told. */
  readonly healthPort?: number | undefined
  readonly logLevel: string
  readonly trustProxy: readonly string[]
  readonly proxyProtocol: boolean
  /** Default: nobody is told. */
  readonly notices?: string | undefined
  /** Default: 1 MiB. */
  readonly maxPacketBytes?: number | undefined
  readonly json: boolean
}

/**
 * Runs a limited MQTT broker until SIGINT or SIGTERM. A changed policy file, or SIGHUP, puts the new policy in the
 * place of the old one; a policy that cannot be used is told of, and the old one stays.
 */
export async function runBroker(options: BrokerOptions, terminal: Terminal): Promise<number> {
  const log = openLog(options.logLevel, options.json, terminal)
  const { env } = terminal
  const files = await findPolicyFiles(options.policy, env)
  const store = storeOf(env)
  const policy = store === undefined ? files : [...files, store]
  const isLimiting = isEnabled(env)
  const gate = isLimiting ? await Gate.fromPolicy(policy, { env, logger: log }) : new Gate({ logger: log })
  if (!isLimiting) log.warn('TOPICGATE_ENABLED is false: nothing is limited, everything passes')
  gate.on('warning', warning =>
    log.warn(
      warning,
      warning.kind === 'limit_near' ? 'a key nears its limit' : 'a rule has more keys than it may keep',
    ),
  )
  gate.on('scaled', scaled => log.info({ factor: 1, ...scaled }, 'limits are scaled by the load'))
  gate.on('policy', change => {
    if (change.kind === 'applied') log.info({ rules: countRules(change.rules) }, 'policy reloaded')
    else logRefusal(log, change.error)
  })
  const stop = new StopSignal()
  let serving = false
  let server: MqttServer | undefined
  let health: HealthServer | undefined
  let monitoring: Monitoring | undefined
  try {
    const observed = await observe(gate, log, options)
    monitoring = observed
    if (options.healthPort !== undefined) {
      const look = (): ReturnType<HealthOptions['look']> => ({ serving, rules: countRules(gate.rules()) })
      const metrics = (): Promise<string> => observed.metrics(server?.limits)
      const { host, healthPort: port } = options
      health = await startHealth({ store: gate.store, look, metrics, host, port })
    }
    server = await startMqttServer({ ...options, gate, logger: log })
    const watch = watchPolicy(files, async () => {
      if (isLimiting) await gate.apply(policy)
    })
    serving = true
    const { port, wsPort } = server
    const urls = [
      `mqtt://${hostOf(options)}:${port}`,
      ...(wsPort === undefined ? [] : [`ws://${hostOf(options)}:${wsPort}`]),
      ...(health === undefined ? [] : [`http://${hostOf(options)}:${health.port}/ready`]),
    ]
    if (isLoopback(options.host))
      log.info({ host: options.host }, 'only this machine can connect (use --host 0.0.0.0 for others)')
    log.info(
      { port, ...(wsPort === undefined ? {} : { wsPort }), rules: countRules(gate.rules()) },
      `ready: ${urls.join(' ')}`,
    )
    const signal = await stop.received
    serving = false
    const { connections, held } = server.limits.stats()
    log.info({ signal, connections, held }, 'ending')
    await watch.close()
    await server.close(DRAIN_MS)
    await observed.close()
    log.info('ended')
  } finally {
    stop.release()
    await health?.close()
    await monitoring?.close()
    await gate.close()
  }
  return EXIT.fine
}

/** Limits of exemptions have names of their own, which no rule of a policy has. */
function countRules(names: readonly string[]): number {
  return names.filter(name => !name.startsWith('exempt:')).length
}

/** Every problem is a line of its own, with its place in the file. */
function logRefusal(log: Logger, error: Error): void {
  if (!(error instanceof PolicyError)) {
    log.error({ err: error }, 'the policy was not reloaded, the old one stays')
    return
  }
  for (const problem of error.problems) log.error({ ...problem, message: undefined }, formatProblem(problem))
  log.error({ problems: error.problems.length }, 'the policy was not reloaded, the old one stays')
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

function hostOf({ host }: BrokerOptions): string {
  return host.includes(':') ? `[${host}]` : host
}
