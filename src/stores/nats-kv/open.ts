import { BackOff } from '../../core/back-off.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { type Logger, SILENT } from '../../core/logger.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { type LeaseSetting, openLeased } from '../leased/open.ts'
import { NatsStreamStore, type NatsStreamStoreOptions } from '../nats-stream/store.ts'
import { parseLeaseSetting, readBreaker } from '../normalize-store-options.ts'
import { computeLateAnswerTimeoutMs, openResilient, type ResilienceOptions } from '../resilient/open.ts'
import type { ResilientStore } from '../resilient/resilient-store.ts'
import { describeNatsError, type NatsConnection } from './connection-wrapper.ts'
import { NatsKvStore, type NatsKvStoreOptions } from './store.ts'

/** Connection options. */
export interface ReachOptions {
  /** Further options for the package's own `connect`, such as `tls` or `authenticator`. */
  readonly connect?: object | undefined
  /** Loads the package. Default: `import()`. */
  readonly load?: ((name: string) => Promise<unknown>) | undefined
}

export interface ConnectNatsKvOptions
  extends Omit<NatsKvStoreOptions, 'connection' | 'onClose' | 'problem'>,
    ReachOptions {}
/** Options of {@link openNatsKv}; `timeoutMs` is the time limit of a decision, after which the fallback decides. */
export interface OpenNatsKvOptions extends ConnectNatsKvOptions, ResilienceOptions {
  readonly timeoutMs?: number | undefined
  /** Leases: units taken in advance and decided on locally; `none` asks for every message. Default: auto. */
  readonly lease?: LeaseSetting | undefined
}
export interface ConnectNatsStreamOptions
  extends Omit<NatsStreamStoreOptions, 'connection' | 'onClose' | 'problem'>,
    ReachOptions {
  readonly logger?: Logger | undefined
}
export interface OpenNatsStreamOptions extends ConnectNatsStreamOptions, ResilienceOptions {
  readonly timeoutMs?: number | undefined
}

const SHARED = {
  bucket: true,
  timeoutMs: true,
  clock: true,
  storage: true,
  replicas: true,
  logger: true,
  connect: true,
  load: true,
  fallback: true,
  nodes: true,
  breaker: true,
} as const
const KV_OPTIONS: KnownOptions<OpenNatsKvOptions> = {
  ...SHARED,
  ttlMs: true,
  maxKeys: true,
  random: true,
  lease: true,
}
const STREAM_OPTIONS: KnownOptions<OpenNatsStreamOptions> = { ...SHARED, maxUnits: true }

type Connect = (options: object) => Promise<NatsConnection>

const PACKAGES = ['@nats-io/transport-node', 'nats']
const CONNECT_MS = 2_500
/** Ping interval; a server that is silent for twice this long is considered lost. */
const PING_EVERY_MS = 5_000

/**
 * Opens a store by the URL of NATS, `nats://[user:password@]host[:port][,host2…]` or `nats://token@host`, with a
 * timeout, a circuit breaker, a fallback and leases. Waits at most one second for the connection, then connects in
 * the background. Rejects with StoreError if neither `@nats-io/transport-node` nor `nats` is installed, or the URL is
 * invalid.
 */
export async function openNatsKv(url: string, options: OpenNatsKvOptions = {}): Promise<ResilientStore> {
  checkOptionNames(options, KV_OPTIONS)
  const {
    fallback,
    nodes,
    breaker: breakerWords = {},
    timeoutMs,
    lease: leaseOption = 'auto',
    ...rest
  } = options
  const [breaker, lease] = [readBreaker(breakerWords), parseLeaseSetting(leaseOption)]
  const shared = await connectNatsKv(url, { ...rest, timeoutMs: computeLateAnswerTimeoutMs(timeoutMs) })
  return openResilient(openLeased(shared, lease, options), { ...options, breaker })
}

/** Opens the same store without a wrapper: until it is connected, calls are rejected at once with StoreError. */
export async function connectNatsKv(url: string, options: ConnectNatsKvOptions = {}): Promise<NatsKvStore> {
  const { connect, load, ...rest } = options
  return openWith(url, options, pending => new NatsKvStore({ ...rest, ...pending }))
}

/** Opens a {@link NatsStreamStore} in the same way, without leases. */
export async function openNatsStream(
  url: string,
  options: OpenNatsStreamOptions = {},
): Promise<ResilientStore> {
  checkOptionNames(options, STREAM_OPTIONS)
  const { fallback, nodes, breaker: breakerWords = {}, timeoutMs, ...rest } = options
  const breaker = readBreaker(breakerWords)
  const store = await connectNatsStream(url, { ...rest, timeoutMs: computeLateAnswerTimeoutMs(timeoutMs) })
  return openResilient(store, { ...options, breaker })
}

/** Opens a {@link NatsStreamStore} without a wrapper. */
export async function connectNatsStream(
  url: string,
  options: ConnectNatsStreamOptions = {},
): Promise<NatsStreamStore> {
  const { connect, load, logger, ...rest } = options
  return openWith(url, options, pending => new NatsStreamStore({ ...rest, ...pending }))
}

interface PendingConnection {
  readonly connection: Promise<NatsConnection>
  readonly onClose: () => Promise<void>
  readonly problem: () => string | undefined
}

async function openWith<T>(
  url: string,
  { connect: more, load = name => import(name), logger }: ReachOptions & { readonly logger?: Logger },
  make: (pending: PendingConnection) => T,
): Promise<T> {
  const address = parseNatsUrl(url)
  const connect = await loadConnect(load)
  const options = {
    name: 'topicgate',
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    timeout: CONNECT_MS,
    // A refused password may be accepted once the server is configured.
    ignoreAuthErrorAbort: true,
    pingInterval: PING_EVERY_MS,
    maxPingOut: 2,
    ...address,
    ...more,
  }
  const pending = keepConnecting(() => connect(options), systemClock, logger ?? SILENT)
  try {
    return make(pending)
  } catch (error) {
    await pending.onClose()
    throw error
  }
}

/** Tries to connect until it succeeds or the store is closed. */
function keepConnecting(
  connect: () => Promise<NatsConnection>,
  clock: Clock,
  logger: Logger,
): PendingConnection {
  let isClosed = false
  let opened: NatsConnection | undefined
  let problem: string | undefined
  let wake = (): void => {}
  const backOff = new BackOff({ fromMs: 50, toMs: 1_000 })
  const connectRepeatedly = async (): Promise<NatsConnection> => {
    for (;;) {
      if (isClosed) throw new StoreError('nats: the store was closed')
      try {
        opened = await connect()
        if (isClosed) await opened.close()
        return opened
      } catch (err) {
        problem = describeNatsError(err)
        logger.debug({ err }, 'the connection to NATS')
      }
      await new Promise<void>(resolve => {
        const cancel = clock.after(backOff.nextMs(), resolve)
        wake = () => {
          cancel()
          resolve()
        }
      })
    }
  }
  const connection = connectRepeatedly()
  connection.catch(() => {})
  const onClose = async (): Promise<void> => {
    isClosed = true
    wake()
    await opened?.close()
  }
  return { connection, onClose, problem: () => problem }
}

async function loadConnect(load: (name: string) => Promise<unknown>): Promise<Connect> {
  const causes: unknown[] = []
  for (const name of PACKAGES) {
    try {
      return ((await load(name)) as { readonly connect: Connect }).connect
    } catch (error) {
      causes.push(error)
    }
  }
  const remedy = `run \`npm install ${PACKAGES[0]}\``
  throw new StoreError(`neither ${PACKAGES.join(' nor ')} is installed: ${remedy}`, { cause: causes[0] })
}

interface NatsAddress {
  readonly servers: readonly string[]
  readonly user?: string | undefined
  readonly pass?: string | undefined
  readonly token?: string | undefined
}

/** Parses `nats://…`. The error never contains the URL, which may hold a password. */
export function parseNatsUrl(url: string): NatsAddress {
  const found = /^nats:\/\/(?:([^@/]*)@)?([^@/?#]+)\/?(?:\?token=([^&#]+))?$/.exec(url)
  const servers = found?.[2]?.split(',') ?? []
  const isGood =
    servers.length > 0 && servers.every(server => /^(\[[\da-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?$/.test(server))
  if (found === null || !isGood) {
    throw new StoreError('the URL of NATS cannot be read (write nats://user:password@host:4222)')
  }
  const [, who, , asked] = found
  const token = asked ?? (who?.includes(':') ? undefined : who)
  if (token !== undefined && token !== '') return { servers, token: decode(token) }
  if (who === undefined || who === '') return { servers }
  const colon = who.indexOf(':')
  return { servers, user: decode(who.slice(0, colon)), pass: decode(who.slice(colon + 1)) }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
