import type { ConnectionOptions } from 'node:tls'
import { StoreError } from '../../core/errors.ts'
import { SILENT } from '../../core/logger.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { readBreaker } from '../normalize-store-options.ts'
import { computeLateAnswerTimeoutMs, openResilient, type ResilienceOptions } from '../resilient/open.ts'
import type { ResilientStore } from '../resilient/resilient-store.ts'
import { fromIoredis, type IoredisClient, type IoredisCluster } from './from-ioredis.ts'
import { RedisStore, type RedisStoreOptions } from './store.ts'
import { type HostPort, parseRedisUrl, type RedisAddress } from './url.ts'

export interface ConnectRedisOptions extends Omit<RedisStoreOptions, 'client'> {
  /** Overrides the user name and password of the URL. */
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly db?: number | undefined
  /** TLS options for `rediss`, such as certificates; see `tls.connect` of Node. */
  readonly tls?: ConnectionOptions | undefined
  /** Credentials of the sentinels. */
  readonly sentinelUsername?: string | undefined
  readonly sentinelPassword?: string | undefined
  /** Loads the package. Default: `import()`. */
  readonly load?: ((name: string) => Promise<unknown>) | undefined
}

/** Options of {@link openRedis}; `timeoutMs` is the time limit of a decision, after which the fallback decides. */
export interface OpenRedisOptions extends ConnectRedisOptions, ResilienceOptions {
  readonly timeoutMs?: number | undefined
}

const OPTIONS: KnownOptions<OpenRedisOptions> = {
  prefix: true,
  timeoutMs: true,
  clock: true,
  denialCache: true,
  logger: true,
  username: true,
  password: true,
  db: true,
  tls: true,
  sentinelUsername: true,
  sentinelPassword: true,
  load: true,
  fallback: true,
  nodes: true,
  breaker: true,
}

interface Ioredis {
  readonly Redis: new (options: object) => IoredisClient
  readonly Cluster: new (nodes: readonly HostPort[], options: object) => IoredisCluster
}

/** Longest pause between two connection attempts. */
const MAX_PAUSE_MS = 1_000
const CONNECT_MS = 2_500

/**
 * Opens a store by the URL of its Redis (several URLs: nodes of a cluster), with a timeout, a circuit breaker and a
 * fallback. Waits at most one second for the connection, then connects in the background. Rejects with StoreError if
 * the package ioredis is missing or a URL is invalid.
 */
export async function openRedis(
  urls: string | readonly string[],
  options: OpenRedisOptions = {},
): Promise<ResilientStore> {
  checkOptionNames(options, OPTIONS)
  const { fallback, nodes, timeoutMs, breaker: words = {}, ...rest } = options
  const breaker = readBreaker(words)
  const store = await connectRedisStore(urls, { ...rest, timeoutMs: computeLateAnswerTimeoutMs(timeoutMs) })
  const clock = typeof options.clock === 'object' ? options.clock : undefined
  return openResilient(store, { ...options, breaker, clock })
}

/** Opens the same store without a wrapper: until it is connected, calls are rejected at once with StoreError. */
export async function connectRedisStore(
  urls: string | readonly string[],
  options: ConnectRedisOptions = {},
): Promise<RedisStore> {
  const { load = name => import(name), ...rest } = options
  const address = addressOf(typeof urls === 'string' ? [urls] : urls)
  const ioredis = await loadIoredis(load)
  const client = connect(ioredis, address, rest)
  const { prefix, timeoutMs, clock, denialCache, logger = SILENT } = rest
  const onError = (err: unknown): void => logger.debug({ err }, 'the connection to Redis')
  const owned = fromIoredis(client, { owned: true, onError })
  return new RedisStore({ client: owned, prefix, timeoutMs, clock, denialCache, logger: rest.logger })
}

function addressOf(urls: readonly string[]): RedisAddress {
  const [first, ...others] = urls.map(parseRedisUrl)
  if (first === undefined)
    throw new StoreError('the URL of Redis is missing (pass one, such as redis://127.0.0.1:6379)')
  if (others.length === 0) return first
  const hosts = [...first.hosts, ...others.flatMap(other => other.hosts)] as RedisAddress['hosts']
  return { ...first, kind: 'cluster', hosts: hosts as [HostPort, ...HostPort[]] }
}

async function loadIoredis(load: (name: string) => Promise<unknown>): Promise<Ioredis> {
  try {
    return (await load('ioredis')) as Ioredis
  } catch (cause) {
    throw new StoreError('the package ioredis is missing: run `npm install ioredis`', { cause })
  }
}

function connect(
  { Redis, Cluster }: Ioredis,
  address: RedisAddress,
  options: Omit<ConnectRedisOptions, 'load'>,
): IoredisClient | IoredisCluster {
  const { kind, hosts, isEncrypted, master } = address
  const username = options.username ?? address.username
  const password = options.password ?? address.password
  const db = options.db ?? address.db
  const tls = isEncrypted ? { tls: options.tls ?? {} } : {}
  const common = {
    // A command that cannot be sent now is never sent later, and one without an answer is never resent.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: CONNECT_MS,
    keepAlive: 10_000,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...tls,
  }
  const pauseMs = (attempts: number): number => Math.min(50 * 2 ** Math.min(attempts, 10), MAX_PAUSE_MS)
  if (kind === 'cluster') {
    const { enableOfflineQueue, ...redisOptions } = common
    // Nodes of a TLS cluster are named by address, and their certificates are checked against it.
    return new Cluster(hosts, {
      redisOptions,
      enableOfflineQueue,
      clusterRetryStrategy: pauseMs,
      slotsRefreshInterval: 5_000,
      ...(isEncrypted ? { dnsLookup: keepName } : {}),
    })
  }
  const shared = { ...common, ...(db === undefined ? {} : { db }), retryStrategy: pauseMs }
  if (kind === 'standalone') return new Redis({ ...hosts[0], ...shared })
  const { sentinelUsername, sentinelPassword } = options
  return new Redis({
    ...shared,
    sentinels: hosts,
    name: master,
    sentinelRetryStrategy: pauseMs,
    enableTLSForSentinelMode: isEncrypted,
    sentinelCommandTimeout: CONNECT_MS,
    ...(isEncrypted ? { sentinelTLS: options.tls ?? {} } : {}),
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
  })
}

/** Keeps the configured host name, because the certificate is checked against it. */
function keepName(host: string, done: (error: null, address: string) => void): void {
  done(null, host)
}
