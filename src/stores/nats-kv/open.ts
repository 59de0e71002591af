import { type Clock, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { type Logger, SILENT } from '../../core/logger.ts'
import { checkOptionNames, type OptionNames } from '../../core/option-names.ts'
import { type LeaseSetting, openLeased } from '../leased/open.ts'
import { readBreaker, readLease } from '../parse-store-options.ts'
import { answerTimeoutMsOf, openResilient, type ResilienceOptions } from '../resilient/open.ts'
import type { ResilientStore } from '../resilient/resilient-store.ts'
import { describe, type NatsConnection } from './connection.ts'
import { NatsKvStore, type NatsKvStoreOptions } from './store.ts'
import { NatsStreamStore, type NatsStreamStoreOptions } from './stream-store.ts'

/** How a server is found and reached. */
export interface ReachOptions {
  /** Further options of the package's own `connect`: `tls`, `authenticator` and their kin. */
  readonly connect?: object | undefined
  /** How the package is loaded. Default: `import()`. */
  readonly load?: ((name: string) => Promise<unknown>) | undefined
}

export interface ConnectNatsKvOptions
  extends Omit<NatsKvStoreOptions, 'connection' | 'onClose' | 'problem'>,
    ReachOptions {}
/** The time limit is that of a decision: then the fallback decides. */
export interface OpenNatsKvOptions extends ConnectNatsKvOptions, ResilienceOptions {
  readonly timeoutMs?: number | undefined
  /** Take units in advance and decide on them here, or ask for every message with `none`. Default: auto. */
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
const KV_OPTIONS: OptionNames<OpenNatsKvOptions> = {
  ...SHARED,
  ttlMs: true,
  maxKeys: true,
  random: true,
  lease: true,
}
const STREAM_OPTIONS: OptionNames<OpenNatsStreamOptions> = { ...SHARED, maxUnits: true }

type Connect = (options: object) => Promise<NatsConnection>

const PACKAGES = ['@nats-io/transport-node', 'nats']
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1_000
const CONNECT_MS = 2_500
/** A server that is silent for twice this long is taken for lost. */
const PING_EVERY_MS = 5_000

/**
 * Opens a store by the URL of NATS, `nats://[user:password@]host[:port][,host2…]` or `nats://token@host`, behind a time
 * limit, a circuit breaker and a fallback, and on leases. Waits a second at most until it is connected, and connects in
 * the background after that. Rejects with StoreError if neither `@nats-io/transport-node` nor `nats` is installed, or the URL cannot be
 * read.
 */
export async function openNatsKv(url: string, options: OpenNatsKvOptions = {}): Promise<ResilientStore> {
  checkOptionNames(options, KV_OPTIONS)
  const { fallback, nodes, breaker: words = {}, timeoutMs, lease: leaseWords = 'auto', ...rest } = options
  const [breaker, lease] = [readBreaker(words), readLease(leaseWords)]
  const shared = await connectNatsKv(url, { ...rest, timeoutMs: answerTimeoutMsOf(timeoutMs) })
  return openResilient(openLeased(shared, lease, options), { ...options, breaker })
}

/** The same store by itself: until it is connected, what is asked is rejected at once with StoreError. */
export async function connectNatsKv(url: string, options: ConnectNatsKvOptions = {}): Promise<NatsKvStore> {
  const { connect, load, ...rest } = options
  return openWith(url, options, reach => new NatsKvStore({ ...rest, ...reach }))
}

/** The same for {@link NatsStreamStore}. */
export async function openNatsStream(
  url: string,
  options: OpenNatsStreamOptions = {},
): Promise<ResilientStore> {
  checkOptionNames(options, STREAM_OPTIONS)
  const { fallback, nodes, breaker: words = {}, timeoutMs, ...rest } = options
  const breaker = readBreaker(words)
  const store = await connectNatsStream(url, { ...rest, timeoutMs: answerTimeoutMsOf(timeoutMs) })
  return openResilient(store, { ...options, breaker })
}

/** The same for {@link NatsStreamStore}. */
export async function connectNatsStream(
  url: string,
  options: ConnectNatsStreamOptions = {},
): Promise<NatsStreamStore> {
  const { connect, load, logger, ...rest } = options
  return openWith(url, options, reach => new NatsStreamStore({ ...rest, ...reach }))
}

interface Reach {
  readonly connection: Promise<NatsConnection>
  readonly onClose: () => Promise<void>
  readonly problem: () => string | undefined
}

async function openWith<T>(
  url: string,
  { connect: more, load = name => import(name), logger }: ReachOptions & { readonly logger?: Logger },
  make: (reach: Reach) => T,
): Promise<T> {
  const address = parseNatsUrl(url)
  const connect = await loadConnect(load)
  const options = {
    ...{ name: 'topicgate', maxReconnectAttempts: -1, reconnectTimeWait: 100, timeout: CONNECT_MS },
    // A password that is refused now may be accepted once the server is configured.
    ...{ ignoreAuthErrorAbort: true },
    ...{ pingInterval: PING_EVERY_MS, maxPingOut: 2, ...address, ...more },
  }
  const reach = reachOut(() => connect(options), systemClock, logger ?? SILENT)
  try {
    return make(reach)
  } catch (error) {
    await reach.onClose()
    throw error
  }
}

/** Connects until it is connected or nobody wants it any more. */
function reachOut(connect: () => Promise<NatsConnection>, clock: Clock, logger: Logger): Reach {
  let isOver = false
  let opened: NatsConnection | undefined
  let problem: string | undefined
  let wake = (): void => {}
  const dial = async (): Promise<NatsConnection> => {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      if (isOver) throw new StoreError('nats: the store was closed')
      try {
        opened = await connect()
        if (isOver) await opened.close()
        return opened
      } catch (err) {
        problem = describe(err)
        logger.debug({ err }, 'the connection to NATS')
      }
      await new Promise<void>(resolve => {
        const cancel = clock.after(pauseMs, resolve)
        wake = () => {
          cancel()
          resolve()
        }
      })
    }
  }
  const connection = dial()
  connection.catch(() => {})
  const onClose = async (): Promise<void> => {
    isOver = true
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

/** Reads `nats://…`; the error never shows the URL, which may hold a password. */
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
