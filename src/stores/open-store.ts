import { type Clock, systemClock } from '../clock.ts'
import { policyError } from '../errors.ts'
import { type Logger, SILENT } from '../logger.ts'
import { MemoryStore } from './memory.ts'
import type { Fallback, Store } from './store.ts'
import { STORE_SCHEMES, schemeOf } from './store-url.ts'

/** A store as a policy names it; see the constructors of the stores for the defaults. */
export interface StoreSpec {
  /** `memory`, `sqlite:./limits.db`, `redis://…` and its kin, `nats://…`. */
  readonly url: string
  /** Before every key of a shared store; the bucket of NATS. */
  readonly prefix?: string
  /** How long a decision may take, in milliseconds. */
  readonly timeoutMs?: number
  /** Take units in advance and decide on them here; default: ask for every message. */
  readonly lease?: 'auto' | { readonly units?: number | 'auto'; readonly ttlMs?: number }
  /** Who decides while the store is out of reach. */
  readonly fallback?: Fallback
  /** How many nodes share the store. */
  readonly nodes?: number
  readonly breaker?: {
    readonly threshold?: number
    readonly recoveryMs?: number
    readonly healthEveryMs?: number
  }
}

export interface OpenStoreOptions {
  readonly clock?: Clock
  readonly logger?: Logger
}

const TIMEOUT_MS = 250
/** Times the time limit of a decision. */
const HEARD_FOR = 4
const CONNECTING_MS = 1_000
const LOOK_MS = 20

/**
 * Opens a store by its URL or specification; whoever asked closes it. All but `memory` stand behind a
 * {@link ResilientStore}, and on leases where those are asked for. Waits a second at the most for a server to be
 * connected: one that is down is no error, and is connected to when it comes. Throws PolicyError for what is no store, StoreError where a package is missing.
 */
export async function openStore(store: string | StoreSpec, options: OpenStoreOptions = {}): Promise<Store> {
  const spec = typeof store === 'string' ? { url: store } : store
  if (spec.url === 'memory') return new MemoryStore(options)
  const { clock, logger = SILENT } = options
  const { nodes, lease, fallback, timeoutMs, breaker } = spec
  const common = clock === undefined ? {} : { clock }
  const shared = nodes === undefined ? {} : { nodes }
  let opened = await openRemote(spec, { ...options, logger })
  if (lease !== undefined) {
    const { LeasedStore } = await import('./leased.ts')
    opened = new LeasedStore({ store: opened, ...(lease === 'auto' ? {} : lease), ...shared, ...common })
  }
  const { ResilientStore } = await import('./resilient.ts')
  return new ResilientStore({
    ...{ store: opened, logger, ...breaker, ...shared, ...common },
    ...(fallback === undefined ? {} : { fallback }),
    timeoutMs: timeoutMs ?? TIMEOUT_MS,
  })
}

async function openRemote(spec: StoreSpec, options: OpenStoreOptions & { logger: Logger }): Promise<Store> {
  const { url, prefix, timeoutMs } = spec
  const scheme = schemeOf(url)
  // Longer than a message waits: what a late answer took is given back, of an answer unheard it is not known.
  const heardMs = HEARD_FOR * (timeoutMs ?? TIMEOUT_MS)
  switch (STORE_SCHEMES.find(known => known === scheme)) {
    case 'sqlite': {
      const { openSqlite } = await import('./sqlite/index.ts')
      return openSqlite(url, options)
    }
    case 'redis':
    case 'rediss':
    case 'redis+sentinel':
    case 'rediss+sentinel':
    case 'redis+cluster':
    case 'rediss+cluster': {
      const { openRedis } = await import('./redis/index.ts')
      const redis = await openRedis(url, {
        logger: options.logger,
        ...(prefix === undefined ? {} : { prefix }),
        timeoutMs: heardMs,
        // By default the server's own: it is the same for all nodes.
        ...(options.clock === undefined ? {} : { clock: options.clock }),
      })
      await untilWell(redis)
      return redis
    }
    case 'nats': {
      const { openNatsKv } = await import('./nats-kv/index.ts')
      const bucket = prefix === undefined ? {} : { bucket: prefix }
      const nats = await openNatsKv(url, { ...options, ...bucket, timeoutMs: heardMs })
      await untilWell(nats)
      return nats
    }
    case undefined:
      throw policyError(
        'store',
        `${JSON.stringify(scheme)} is no store`,
        'write memory, sqlite:FILE, redis://HOST or nats://HOST',
      )
  }
}

/** Else the first messages would be decided by the fallback, though the server is only a few milliseconds away. */
async function untilWell(store: Store): Promise<void> {
  const endMs = systemClock.now() + CONNECTING_MS
  while (systemClock.now() < endMs) {
    const isWell = await Promise.resolve(store.health()).then(
      ({ ok }) => ok,
      () => false,
    )
    if (isWell) return
    await new Promise<void>(resolve => systemClock.after(LOOK_MS, resolve))
  }
}
