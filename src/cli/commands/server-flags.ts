import { type Command, Option } from 'commander'
import {
  adminAddressesFromEnv,
  DEFAULT_TOKENS_FILE,
  healthPortFromEnv,
  logLevelFromEnv,
  maxPacketBytesFromEnv,
  monitoringOptionsFromEnv,
  tokensFileFromEnv,
} from '../arguments/environment-variables.ts'
import {
  appendOptionValue,
  parseBytesArgument,
  parseCount,
  parsePacketBytes,
  parsePercentArgument,
  parsePort,
  parseWorkers,
} from '../arguments/parse-argument-values.ts'
import { DEFAULT_CAPTURE_ROTATION, type LiveCaptureOptions } from '../capture/live-capture-options.ts'
import type { TlsFileOptions } from '../listeners/tls-certificates.ts'
import type { MonitoringOptions } from '../monitoring/start-monitoring.ts'
import { requirePolicyFiles } from '../policy/resolve-policy-files.ts'
import type { ServerOptions } from '../server/server-types.ts'
import type { AdminOptions } from '../server/start-admin.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { policyOption } from './commands-policy.ts'

/** Options of the commands that serve clients: broker and gateway. */
export interface ServerFlags {
  readonly policy?: readonly string[]
  readonly host: string
  readonly port?: number
  readonly ws?: number | true
  readonly health?: number
  readonly logLevel?: string
  readonly proxyProtocol?: boolean
  readonly trustProxy?: readonly string[]
  readonly maxPacketBytes?: number
  readonly tls?: number
  readonly wss?: number
  readonly tlsCert?: readonly string[]
  readonly tlsKey?: readonly string[]
  readonly tlsCa?: string
  readonly requireCertificate?: boolean
  readonly usernameFrom?: 'cn'
  readonly auditLog?: string
  readonly analyticsStore?: string
  readonly alertsWebhook?: string
  readonly admin?: readonly string[]
  readonly adminTokens?: string
  readonly adminHost?: readonly string[]
  readonly adminOverlay?: string
  readonly workers?: number
  readonly capture?: string
  readonly captureSenders?: number
  readonly captureHashSenders?: boolean
  readonly captureRotate?: number
  readonly captureFiles?: number
  readonly json?: boolean
}

const DEFAULT_PORT = 1_883
const DEFAULT_WS_PORT = 8_883
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** Adds the options of listeners, monitoring and the admin server to a command. */
export function addServerOptions(command: Command): Command {
  return command
    .addOption(policyOption())
    .option(
      '--port <port>',
      `port for clients; 0 for a free port; default: ${DEFAULT_PORT} (NATS: 4222), or none with --tls or --wss`,
      parsePort,
    )
    .option('--ws [port]', `port for MQTT over WebSocket; without a port: ${DEFAULT_WS_PORT}`, parsePort)
    .option('--tls <port>', 'port for MQTT over TLS', parsePort)
    .option('--wss <port>', 'port for MQTT over WebSocket and TLS', parsePort)
    .option(
      '--tls-cert <file>',
      'certificate chain of --tls and --wss, in PEM; may be given several times, for several names',
      appendOptionValue,
    )
    .option('--tls-key <file>', 'private key of --tls-cert, in PEM, in the same order', appendOptionValue)
    .option('--tls-ca <file>', 'authorities of client certificates, in PEM')
    .option('--require-certificate', 'refuse clients without a valid certificate')
    .addOption(
      new Option(
        '--username-from <field>',
        'take the user name from the common name of a client certificate',
      ).choices(['cn']),
    )
    .option('--host <address>', 'the address to listen at; 0.0.0.0 for all of them', '127.0.0.1')
    .option('--health <port>', 'port for /live and /ready over HTTP; 0 for a free port', parsePort)
    .addOption(new Option('--log-level <level>', 'what is logged; default: info').choices(LOG_LEVELS))
    .option(
      '--trust-proxy <cidr>',
      'a proxy that may report addresses; may be given several times',
      appendOptionValue,
    )
    .option('--proxy-protocol', 'those proxies send PROXY protocol headers, version 1 or 2')
    .option(
      '--max-packet-bytes <bytes>',
      'the largest MQTT packet a client may send, as 64kB; default: 1 MiB',
      parsePacketBytes,
    )
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
    .option('--admin-tokens <file>', `tokens of --admin HOST:PORT; default: ${DEFAULT_TOKENS_FILE}`)
    .option(
      '--admin-host <name>',
      'a name under which browsers reach the dashboard; may be given several times',
      appendOptionValue,
    )
    .option(
      '--admin-overlay <file>',
      'where the admin API writes changes of the policy; default: policy.admin.yaml beside policy.yaml',
    )
    .option(
      '--workers <count>',
      'processes that serve clients, under limits that they share; default: one',
      parseWorkers,
    )
    .option(
      '--capture <file>',
      'record the messages, without payloads, for suggest and replay; .gz compresses',
    )
    .option(
      '--capture-senders <share>',
      'record only so many of the senders, as 5%, always the same; default: all',
      parsePercentArgument,
    )
    .option('--capture-hash-senders', 'replace the names of senders in the capture, and leave out addresses')
    .option(
      '--capture-rotate <bytes>',
      'begin another file of the capture after so many; default: 100 MB',
      parseBytesArgument,
    )
    .option('--capture-files <count>', 'keep so many files of the capture; default: 10', parseCount)
    .option('--json', 'log JSON also to a screen')
}

export interface ServerFlagContext {
  /** Example of the command with a policy. */
  readonly usage: string
  /** Port without TLS. Default: that of MQTT. */
  readonly defaultPort?: number | undefined
}

/** Returns the options of a command that serves clients. */
export function parseServerFlags(
  files: readonly string[],
  flags: ServerFlags,
  env: Terminal['env'],
  { usage, defaultPort = DEFAULT_PORT }: ServerFlagContext,
): ServerOptions & { readonly tls: TlsFileOptions | undefined } {
  const policy = requirePolicyFiles([...files, ...(flags.policy ?? [])], env, usage)
  const trustProxy = flags.trustProxy ?? []
  if (flags.proxyProtocol && trustProxy.length === 0) {
    const remedy = 'add --trust-proxy with their addresses'
    throw new CommandError(`--proxy-protocol needs proxies that are trusted (${remedy})`, EXIT.usage)
  }
  const monitoring = monitoringOptionsFromEnv(env)
  return {
    policy,
    host: flags.host,
    port: flags.port ?? (flags.tls === undefined && flags.wss === undefined ? defaultPort : undefined),
    wsPort: flags.ws === true ? DEFAULT_WS_PORT : flags.ws,
    tlsPort: flags.tls,
    wssPort: flags.wss,
    tls: parseTlsFlags(flags),
    healthPort: flags.health ?? healthPortFromEnv(env),
    logLevel: flags.logLevel ?? logLevelFromEnv(env, LOG_LEVELS) ?? 'info',
    trustProxy,
    proxyProtocol: flags.proxyProtocol ?? false,
    maxPacketBytes: flags.maxPacketBytes ?? maxPacketBytesFromEnv(env),
    auditLog: flags.auditLog ?? monitoring.auditLog,
    analyticsStore: flags.analyticsStore ?? monitoring.analyticsStore,
    webhook: parseWebhook(flags.alertsWebhook ?? monitoring.webhookUrl, monitoring.webhookSecret),
    capture: parseCaptureFlags(flags),
    workers: flags.workers === 1 ? undefined : flags.workers,
    json: flags.json ?? false,
    admin: parseAdminFlags(flags, env),
  }
}

function parseTlsFlags(flags: ServerFlags): TlsFileOptions | undefined {
  const { tlsCert = [], tlsKey = [], tlsCa: caFile, requireCertificate = false } = flags
  const refuse = (message: string, remedy: string): never => {
    throw new CommandError(`${message} (${remedy})`, EXIT.usage)
  }
  if (caFile === undefined && (requireCertificate || flags.usernameFrom !== undefined))
    refuse('client certificates need an authority to be checked with', 'add --tls-ca')
  if (flags.tls === undefined && flags.wss === undefined) {
    if (tlsCert.length > 0 || tlsKey.length > 0 || caFile !== undefined)
      refuse('--tls-cert, --tls-key and --tls-ca need a TLS listener', 'add --tls 8883 or --wss 8884')
    return undefined
  }
  const [first, ...others] = tlsCert.map((certFile, index) => ({ certFile, keyFile: tlsKey[index] ?? '' }))
  if (first === undefined || tlsKey.length === 0)
    return refuse('--tls and --wss need a certificate', 'add --tls-cert and --tls-key')
  if (tlsCert.length !== tlsKey.length)
    refuse(
      `there are ${tlsCert.length} --tls-cert and ${tlsKey.length} --tls-key`,
      'give each certificate its key, in the same order',
    )
  return { certificates: [first, ...others], caFile, requireCertificate }
}

function parseCaptureFlags(flags: ServerFlags): LiveCaptureOptions | undefined {
  const { capture: file, captureSenders, captureHashSenders, captureRotate, captureFiles } = flags
  if (file !== undefined) {
    return {
      file,
      senders: captureSenders ?? 1,
      hashSenders: captureHashSenders ?? false,
      rotateBytes: captureRotate ?? DEFAULT_CAPTURE_ROTATION.rotateBytes,
      files: captureFiles ?? DEFAULT_CAPTURE_ROTATION.files,
    }
  }
  if ((captureSenders ?? captureHashSenders ?? captureRotate ?? captureFiles) === undefined) return undefined
  const remedy = 'add --capture day.jsonl.gz'
  throw new CommandError(`options of a capture need its file (${remedy})`, EXIT.usage)
}

function parseAdminFlags(flags: ServerFlags, env: Terminal['env']): AdminOptions | undefined {
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
function parseWebhook(url: string | undefined, secret: string | undefined): MonitoringOptions['webhook'] {
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
