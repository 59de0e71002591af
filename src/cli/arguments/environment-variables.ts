import { delimiter } from 'node:path'
import { PolicyError } from '../../core/errors.ts'
import { parseDuration } from '../../core/units.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { parsePacketBytes, parsePort } from './parse-argument-values.ts'

/** Environment variables of the commands. docs/deployment.md contains the same table. */
export const ENV_VARIABLES = {
  TOPICGATE_POLICY: 'policy files for commands that name none, separated as in PATH',
  TOPICGATE_ENV: 'an overlay: `prod` merges policy.prod.yaml, if it exists, into policy.yaml',
  TOPICGATE_ENABLED: '`false` lets everything pass',
  TOPICGATE_STORE: 'the URL of the store, instead of the policy’s',
  TOPICGATE_STORE_PREFIX: 'its prefix',
  TOPICGATE_STORE_TIMEOUT: 'its time limit, as 250ms',
  TOPICGATE_STORE_FALLBACK: 'decides while the store is unreachable: memory, degraded, allow, deny',
  TOPICGATE_STORE_NODES: 'the number of nodes that share it',
  TOPICGATE_HEALTH: 'the port of `/live` and `/ready`, as with --health',
  TOPICGATE_NOTICES:
    'the topic on which refused clients get the reason, as with --notices; `true` for the usual one',
  TOPICGATE_MAX_PACKET_BYTES: 'the largest MQTT packet, as with --max-packet-bytes',
  TOPICGATE_PASSWORD_FILE: 'the file of users and passwords, as with --password-file',
  TOPICGATE_ACL_FILE: 'the file of topics that each user may publish and read, as with --acl-file',
  TOPICGATE_PERSISTENCE: 'the Redis that keeps sessions and retained messages, as with --persistence',
  TOPICGATE_AUDIT_LOG: 'the file of bans, overrides and other changes, as with --audit-log',
  TOPICGATE_ANALYTICS_STORE: 'the store of analytics, as with --analytics-store',
  TOPICGATE_ALERTS_WEBHOOK: 'the URL that receives alerts, as with --alerts-webhook',
  TOPICGATE_ALERTS_SECRET: 'the secret that signs alerts',
  TOPICGATE_ADMIN_LISTEN: 'addresses of the admin API, separated by commas, as with --admin',
  TOPICGATE_ADMIN_TOKENS: 'the file of its tokens, as with --admin-tokens',
  TOPICGATE_ADMIN: 'the address that commands such as `who` ask, as with --to',
  TOPICGATE_TOKEN: 'the token they send',
  TOPICGATE_LOG_LEVEL: 'the level of the log, as with --log-level',
} as const

type Env = Terminal['env']
type Variable = keyof typeof ENV_VARIABLES

/** Returns the policy files named by the environment. */
export function policyFilesFromEnv(env: Env): readonly string[] {
  return (read(env, 'TOPICGATE_POLICY') ?? '').split(delimiter).filter(file => file !== '')
}

export function overlayNameFromEnv(env: Env): string | undefined {
  const name = read(env, 'TOPICGATE_ENV')
  if (name === undefined || /^[\w-]{1,64}$/.test(name)) return name
  throw invalidVariable('TOPICGATE_ENV', 'use letters, digits, _ and -, as prod')
}

/** Returns false if limiting is disabled. */
export function isLimitingEnabled(env: Env): boolean {
  const word = read(env, 'TOPICGATE_ENABLED')
  const enabled = word === undefined || isTrue(word)
  if (enabled === undefined) throw invalidVariable('TOPICGATE_ENABLED', 'write true or false')
  return enabled
}

/** Returns a part of a policy that overrides the store of all files; undefined if the environment does not set it. */
export function storeOverlayFromEnv(env: Env): object | undefined {
  const url = read(env, 'TOPICGATE_STORE')
  // Options of another store have no effect on this one.
  if (url === 'memory') return { store: 'memory' }
  const nodes = read(env, 'TOPICGATE_STORE_NODES')
  const timeout = read(env, 'TOPICGATE_STORE_TIMEOUT')
  if (timeout !== undefined) readWith('TOPICGATE_STORE_TIMEOUT', () => parseDuration(timeout))
  if (nodes !== undefined && !/^[1-9]\d{0,5}$/.test(nodes)) {
    throw invalidVariable('TOPICGATE_STORE_NODES', 'write a whole number of at least 1')
  }
  const words = {
    url: url && literal(url),
    prefix: literalOf(env, 'TOPICGATE_STORE_PREFIX'),
    timeout,
    fallback: literalOf(env, 'TOPICGATE_STORE_FALLBACK'),
    nodes: nodes && Number(nodes),
  }
  const given = Object.entries(words).filter(([, value]) => value !== undefined)
  return given.length === 0 ? undefined : { store: Object.fromEntries(given) }
}

export function healthPortFromEnv(env: Env): number | undefined {
  const text = read(env, 'TOPICGATE_HEALTH')
  return text === undefined ? undefined : readWith('TOPICGATE_HEALTH', () => parsePort(text))
}

export function maxPacketBytesFromEnv(env: Env): number | undefined {
  const text = read(env, 'TOPICGATE_MAX_PACKET_BYTES')
  return text === undefined ? undefined : readWith('TOPICGATE_MAX_PACKET_BYTES', () => parsePacketBytes(text))
}

/** Default topic of notices to refused clients. */
export const DEFAULT_NOTICES_TOPIC = '$topicgate/{client}/limits'

/** Returns the topic of notices; undefined for none. */
export function noticesTopicFromEnv(env: Env): string | undefined {
  const word = read(env, 'TOPICGATE_NOTICES')
  const isOn = word !== undefined && isTrue(word)
  if (isOn === undefined) return word
  return isOn ? DEFAULT_NOTICES_TOPIC : undefined
}

export function aclFileFromEnv(env: Env): string | undefined {
  return read(env, 'TOPICGATE_ACL_FILE')
}

export function passwordFileFromEnv(env: Env): string | undefined {
  return read(env, 'TOPICGATE_PASSWORD_FILE')
}

export function persistenceFromEnv(env: Env): string | undefined {
  return read(env, 'TOPICGATE_PERSISTENCE')
}

/** Returns the monitoring options of the environment. */
export function monitoringOptionsFromEnv(env: Env): {
  readonly auditLog: string | undefined
  readonly analyticsStore: string | undefined
  readonly webhookUrl: string | undefined
  readonly webhookSecret: string | undefined
} {
  return {
    auditLog: read(env, 'TOPICGATE_AUDIT_LOG'),
    analyticsStore: read(env, 'TOPICGATE_ANALYTICS_STORE'),
    webhookUrl: read(env, 'TOPICGATE_ALERTS_WEBHOOK'),
    webhookSecret: read(env, 'TOPICGATE_ALERTS_SECRET'),
  }
}

/** Returns the addresses of the admin server; none without it. */
export function adminAddressesFromEnv(env: Env): readonly string[] {
  return (read(env, 'TOPICGATE_ADMIN_LISTEN') ?? '').split(',').filter(address => address !== '')
}

/** Default file of the tokens of the admin API. */
export const DEFAULT_TOKENS_FILE = 'topicgate.tokens'

export function tokensFileFromEnv(env: Env): string {
  return read(env, 'TOPICGATE_ADMIN_TOKENS') ?? DEFAULT_TOKENS_FILE
}

/** Returns the log level, which must be one of the known levels. */
export function logLevelFromEnv(env: Env, levels: readonly string[]): string | undefined {
  const level = read(env, 'TOPICGATE_LOG_LEVEL')
  if (level === undefined || levels.includes(level)) return level
  throw invalidVariable('TOPICGATE_LOG_LEVEL', `use one of ${levels.join(', ')}`)
}

/** Returns undefined for a word that is neither yes nor no. */
function isTrue(word: string): boolean | undefined {
  if (['true', '1', 'yes', 'on'].includes(word.toLowerCase())) return true
  return ['false', '0', 'no', 'off'].includes(word.toLowerCase()) ? false : undefined
}

/** Treats an empty variable as unset, as compose files leave it. */
function read(env: Env, name: Variable): string | undefined {
  return env[name] || undefined
}

/** Escapes `${`, which policies would substitute: a password may contain it. */
function literal(text: string): string {
  return text.replaceAll('${', () => '$${')
}

function literalOf(env: Env, name: Variable): string | undefined {
  const text = read(env, name)
  return text && literal(text)
}

function readWith<T>(name: Variable, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    const problem = error instanceof PolicyError ? error.problems[0] : undefined
    throw invalidVariable(name, problem?.remedy ?? (error as Error).message)
  }
}

/** Never print the value: it may be a secret in the wrong variable. */
function invalidVariable(name: Variable, remedy: string): CommandError {
  return new CommandError(`the value of ${name} cannot be used (${remedy})`, EXIT.usage)
}
