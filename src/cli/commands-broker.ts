import { type Command, Option } from 'commander'
import { collect, readDuration, readPort } from './arguments.ts'
import { policyOption } from './commands-policy.ts'
import { healthPortOf, logLevelOf } from './environment.ts'
import { CommandFailure, EXIT } from './failure.ts'
import { namedPolicy } from './policy-files.ts'
import type { Terminal } from './terminal.ts'

interface BrokerFlags {
  readonly policy?: readonly string[]
  readonly host: string
  readonly port: number
  readonly ws?: number | true
  readonly health?: number
  readonly logLevel?: string
  readonly proxyProtocol?: boolean
  readonly trustProxy?: readonly string[]
  readonly json?: boolean
}

interface DemoFlags {
  readonly policy?: readonly string[]
  readonly for?: number
  readonly outcome?: 'drop' | 'throttle'
  readonly json?: boolean
}

const DEFAULT_WS_PORT = 8_883
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** The commands that run a broker: broker, demo. */
export function addBrokerCommands(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  program
    .command('broker')
    .description('run a limited MQTT broker; SIGHUP and changed files reload its policy')
    .argument('[files...]', 'policy files')
    .addOption(policyOption())
    .option('--port <port>', 'where MQTT is spoken; 0 for a free port', readPort, 1883)
    .option(
      '--ws [port]',
      `where MQTT over WebSocket is spoken, too; without a port: ${DEFAULT_WS_PORT}`,
      readPort,
    )
    .option('--host <address>', 'the address to listen at; 0.0.0.0 for all of them', '127.0.0.1')
    .option('--health <port>', 'where /live and /ready are told over HTTP, too; 0 for a free port', readPort)
    .addOption(new Option('--log-level <level>', 'what is logged; default: info').choices(LOG_LEVELS))
    .option(
      '--trust-proxy <cidr>',
      'a proxy whose word on addresses counts; several times for several',
      collect,
    )
    .option('--proxy-protocol', 'those proxies send PROXY protocol headers, version 1 or 2')
    .option('--json', 'log JSON also to a screen')
    .action(async (files: readonly string[], flags: BrokerFlags) => {
      const { env } = terminal
      const given = [...files, ...(flags.policy ?? [])]
      const policy = namedPolicy(given, env, 'broker --policy policy.yaml')
      const trustProxy = flags.trustProxy ?? []
      if (flags.proxyProtocol && trustProxy.length === 0) {
        const remedy = 'add --trust-proxy with their addresses'
        throw new CommandFailure(`--proxy-protocol needs proxies that are trusted (${remedy})`, EXIT.usage)
      }
      const { runBroker } = await import('./broker.ts')
      const options = {
        policy,
        host: flags.host,
        port: flags.port,
        wsPort: flags.ws === true ? DEFAULT_WS_PORT : flags.ws,
        healthPort: flags.health ?? healthPortOf(env),
        logLevel: flags.logLevel ?? logLevelOf(env, LOG_LEVELS) ?? 'info',
        trustProxy,
        proxyProtocol: flags.proxyProtocol ?? false,
        json: flags.json ?? false,
      }
      done(await runBroker(options, terminal))
    })

  program
    .command('demo')
    .description('watch a limited broker at work: a small fleet with one device that floods')
    .addOption(policyOption())
    .option('--for <duration>', 'end by itself, as after 10s; default: at Ctrl-C', readDuration)
    .addOption(
      new Option(
        '--outcome <outcome>',
        'what the rules do with too much; default: as the policy says',
      ).choices(['drop', 'throttle']),
    )
    .option('--json', 'print a line of JSON a second')
    .action(async (flags: DemoFlags) => {
      const { demo } = await import('./demo.ts')
      const options = {
        policy: flags.policy ?? [],
        forMs: flags.for,
        outcome: flags.outcome,
        json: flags.json ?? false,
      }
      done(await demo(options, terminal))
    })
}
