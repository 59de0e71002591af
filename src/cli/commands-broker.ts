import { type Command, Option } from 'commander'
import type { BrokerCommandOptions } from './broker.ts'
import { CommandError, EXIT } from './command-error.ts'
import { policyOption } from './commands-policy.ts'
import {
  aclFileFromEnv,
  adminAddressesFromEnv,
  DEFAULT_TOKENS,
  healthPortFromEnv,
  monitoringOptionsFromEnv,
  NOTICES_TOPIC,
  passwordFileFromEnv,
  readLogLevel,
  readMaxPacketBytes,
  readNoticesTopic,
  tokensFileFromEnv,
} from './environment-variables.ts'
import {
  appendOptionValue,
  parseDurationArgument,
  readPacketBytes,
  readPort,
} from './parse-argument-values.ts'
import { requirePackages } from './required-packages.ts'
import { requirePolicyFiles } from './resolve-policy-files.ts'
import type { Terminal } from './terminal.ts'

interface BrokerFlags {
  readonly policy?: readonly string[]
  readonly host: string
  readonly port?: number
  readonly ws?: number | true
  readonly health?: number
  readonly logLevel?: string
  readonly proxyProtocol?: boolean
  readonly trustProxy?: readonly string[]
  readonly notices?: string | true
  readonly maxPacketBytes?: number
  readonly tls?: number
  readonly wss?: number
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly tlsCa?: string
  readonly requireCertificate?: boolean
  readonly usernameFrom?: 'cn'
  readonly passwordFile?: string
  readonly allowAnonymous?: boolean
  readonly aclFile?: string
  readonly auditLog?: string
  readonly analyticsStore?: string
  readonly alertsWebhook?: string
  readonly admin?: readonly string[]
  readonly adminTokens?: string
  readonly adminHost?: readonly string[]
  readonly adminOverlay?: string
  readonly json?: boolean
}

interface DemoFlags {
  readonly policy?: readonly string[]
  readonly for?: number
  readonly outcome?: 'drop' | 'throttle'
  readonly attack?: boolean
  readonly ui?: boolean
  readonly json?: boolean
}

const DEFAULT_PORT = 1_883
const DEFAULT_WS_PORT = 8_883
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** Adds the commands that run a broker: broker, demo. */
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
    .option(
      '--port <port>',
      `port for MQTT; 0 for a free port; default: ${DEFAULT_PORT}, or none with --tls or --wss`,
      readPort,
    )
    .option('--ws [port]', `port for MQTT over WebSocket; without a port: ${DEFAULT_WS_PORT}`, readPort)
    .option('--tls <port>', 'port for MQTT over TLS', readPort)
    .option('--wss <port>', 'port for MQTT over WebSocket and TLS', readPort)
    .option('--tls-cert <file>', 'certificate chain of --tls and --wss, in PEM')
    .option('--tls-key <file>', 'private key of --tls-cert, in PEM')
    .option('--tls-ca <file>', 'authorities of client certificates, in PEM')
    .option('--require-certificate', 'refuse clients without a valid certificate')
    .addOption(
      new Option(
        '--username-from <field>',
        'take the user name from the common name of a client certificate',
      ).choices(['cn']),
    )
    .option('--host <address>', 'the address to listen at; 0.0.0.0 for all of them', '127.0.0.1')
    .option('--health <port>', 'port for /live and /ready over HTTP; 0 for a free port', readPort)
    .addOption(new Option('--log-level <level>', 'what is logged; default: info').choices(LOG_LEVELS))
    .option(
      '--trust-proxy <cidr>',
      'a proxy that may report addresses; may be given several times',
      appendOptionValue,
    )
    .option('--proxy-protocol', 'those proxies send PROXY protocol headers, version 1 or 2')
    .option(
      '--notices [topic]',
      `send refused clients the reason, on a topic of their own; default: ${NOTICES_TOPIC}`,
    )
    .option(
      '--max-packet-bytes <bytes>',
      'the largest MQTT packet a client may send, as 64kB; default: 1 MiB',
      readPacketBytes,
    )
    .option(
      '--password-file <file>',
      'users and hashed passwords, as topicgate passwd or mosquitto_passwd writes',
    )
    .option('--allow-anonymous', 'with --password-file, let clients without a user name connect too')
    .option('--acl-file <file>', 'topics that each user may publish and read, in the format of mosquitto')
    .option('--audit-log <file>', 'append bans, overrides and other changes to a file')
    .option(
      '--analytics-store <url>',
      'where all nodes store their analytics: SQLite, Redis, policy or none; default: the store of the policy',
    )
    .option('--alerts-webhook <url>', 'post alerts there, signed with TOPICGATE_ALERTS_SECRET')
    .option(
      '--admin <address>',
      'serve the admin API and the dashboard at unix:PATH or HOST:PORT; may be given several times',
      appendOptionValue,
    )
    .option('--admin-tokens <file>', `tokens of --admin HOST:PORT; default: ${DEFAULT_TOKENS}`)
    .option(
      '--admin-host <name>',
      'a name under which browsers reach the dashboard; may be given several times',
      appendOptionValue,
    )
    .option(
      '--admin-overlay <file>',
      'where the admin API writes changes of the policy; default: policy.admin.yaml beside policy.yaml',
    )
    .option('--json', 'log JSON also to a screen')
    .action(async (files: readonly string[], flags: BrokerFlags) => {
      const { env } = terminal
      const given = [...files, ...(flags.policy ?? [])]
      const policy = requirePolicyFiles(given, env, 'broker --policy policy.yaml')
      const trustProxy = flags.trustProxy ?? []
      if (flags.proxyProtocol && trustProxy.length === 0) {
        const remedy = 'add --trust-proxy with their addresses'
        throw new CommandError(`--proxy-protocol needs proxies that are trusted (${remedy})`, EXIT.usage)
      }
      const seen = monitoringOptionsFromEnv(env)
      requirePackages('broker')
      const { runBroker } = await import('./broker.ts')
      const options = {
        policy,
        host: flags.host,
        port: flags.port ?? (flags.tls === undefined && flags.wss === undefined ? DEFAULT_PORT : undefined),
        wsPort: flags.ws === true ? DEFAULT_WS_PORT : flags.ws,
        tlsPort: flags.tls,
        wssPort: flags.wss,
        tls: parseTlsFlags(flags),
        healthPort: flags.health ?? healthPortFromEnv(env),
        logLevel: flags.logLevel ?? readLogLevel(env, LOG_LEVELS) ?? 'info',
        trustProxy,
        proxyProtocol: flags.proxyProtocol ?? false,
        notices: flags.notices === true ? NOTICES_TOPIC : (flags.notices ?? readNoticesTopic(env)),
        maxPacketBytes: flags.maxPacketBytes ?? readMaxPacketBytes(env),
        authentication: parseAuthenticationFlags(flags, env),
        aclFile: flags.aclFile ?? aclFileFromEnv(env),
        auditLog: flags.auditLog ?? seen.auditLog,
        analyticsStore: flags.analyticsStore ?? seen.analyticsStore,
        webhook: parseWebhook(flags.alertsWebhook ?? seen.webhookUrl, seen.webhookSecret),
        json: flags.json ?? false,
        admin: parseAdminFlags(flags, env),
      }
      done(await runBroker(options, terminal))
    })

  program
    .command('demo')
    .description('watch a limited broker at work: a small fleet with one device that floods')
    .addOption(policyOption())
    .option('--for <duration>', 'end after this time, such as 10s; default: at Ctrl-C', parseDurationArgument)
    .addOption(
      new Option('--outcome <outcome>', 'outcome of all rules; default: as in the policy').choices([
        'drop',
        'throttle',
      ]),
    )
    .option('--ui', 'serve the dashboard, and print its address')
    .option('--attack', 'show what an attacker gets through the policy, and end')
    .option('--json', 'print a line of JSON a second; with --attack, one line')
    .action(async (flags: DemoFlags) => {
      if (flags.attack) {
        if (flags.for !== undefined || flags.outcome !== undefined || flags.ui) {
          const remedy = 'leave out --for, --outcome and --ui'
          throw new CommandError(`--attack runs by itself, with the policy as it is (${remedy})`, EXIT.usage)
        }
        const { runAttackDemo } = await import('./attack-simulation.ts')
        done(await runAttackDemo({ policy: flags.policy ?? [], json: flags.json ?? false }, terminal))
        return
      }
      requirePackages('demo')
      const { demo } = await import('./demo.ts')
      const options = {
        policy: flags.policy ?? [],
        forMs: flags.for,
        outcome: flags.outcome,
        ui: flags.ui ?? false,
        json: flags.json ?? false,
      }
      done(await demo(options, terminal))
    })
}

function parseAuthenticationFlags(
  flags: BrokerFlags,
  env: Terminal['env'],
): BrokerCommandOptions['authentication'] {
  const passwordFile = flags.passwordFile ?? passwordFileFromEnv(env)
  const allowAnonymous = flags.allowAnonymous ?? false
  const usernameFromCertificate = flags.usernameFrom === 'cn'
  if (passwordFile !== undefined || usernameFromCertificate)
    return { passwordFile, usernameFromCertificate, allowAnonymous }
  if (!allowAnonymous) return undefined
  const remedy = 'without one, every client may connect'
  throw new CommandError(`--allow-anonymous belongs to --password-file (${remedy})`, EXIT.usage)
}

function parseTlsFlags(flags: BrokerFlags): BrokerCommandOptions['tls'] {
  const { tlsCert: certFile, tlsKey: keyFile, tlsCa: caFile, requireCertificate = false } = flags
  const refuse = (message: string, remedy: string): never => {
    throw new CommandError(`${message} (${remedy})`, EXIT.usage)
  }
  if (caFile === undefined && (requireCertificate || flags.usernameFrom !== undefined))
    refuse('client certificates need an authority to be checked with', 'add --tls-ca')
  if (flags.tls === undefined && flags.wss === undefined) {
    if ((certFile ?? keyFile ?? caFile) !== undefined)
      refuse('--tls-cert, --tls-key and --tls-ca need a TLS listener', 'add --tls 8883 or --wss 8884')
    return undefined
  }
  if (certFile === undefined || keyFile === undefined)
    return refuse('--tls and --wss need a certificate', 'add --tls-cert and --tls-key')
  return { certFile, keyFile, caFile, requireCertificate }
}

function parseAdminFlags(flags: BrokerFlags, env: Terminal['env']): BrokerCommandOptions['admin'] {
  const listen = flags.admin ?? adminAddressesFromEnv(env)
  if (listen.length === 0) return undefined
  return {
    listen,
    tokens: flags.adminTokens ?? tokensFileFromEnv(env),
    hosts: flags.adminHost ?? [],
    overlay: flags.adminOverlay,
  }
}

/** Never print the URL: it may contain a password. */
function parseWebhook(url: string | undefined, secret: string | undefined): BrokerCommandOptions['webhook'] {
  if (url === undefined) return undefined
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  // The webhook rejects a URL with a password; the signature identifies the sender of an alert.
  if (!/^https?:$/.test(parsed?.protocol ?? '') || parsed?.username || parsed?.password) {
    const remedy = 'write https://host/path, without user and password'
    throw new CommandError(`--alerts-webhook is not an http or https URL (${remedy})`, EXIT.usage)
  }
  if (secret !== undefined) return { url, secret }
  const remedy = 'set TOPICGATE_ALERTS_SECRET, else anyone could send alerts'
  throw new CommandError(`--alerts-webhook needs a secret to sign with (${remedy})`, EXIT.usage)
}
